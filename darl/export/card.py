"""The model card of a folder for the Hugging Face Hub: data, metrics beside their yardsticks, record, loading.

Its header is that of the Hub (`huggingface_hub.ModelCardData`), which shows metrics from `model-index`.
"""

import json
import re
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darl.export.base import Export, Source
from darl.variants import require

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from darl.metrics import Metric

__all__ = ["CARD_FILE", "CardExport", "card"]

CARD_FILE = "README.md"

_TEXT = """
# {name}

A Vision Transformer that was {training}. It gives a feature vector of each patch of an image, and one of the image.

| | |
|---|---|
{facts}

## How to load it

`FOLDER` is this folder; `huggingface_hub.snapshot_download("OWNER/NAME")` gives it for a model of the Hub. `images` are
float (batch, {channels}, {size}, {size}): pixels in [0, 1] minus the mean {mean}, divided by the deviation {std}.

```python
{loading}
```

## Data

{data}

## Metrics

{metrics}

## Record

Everything that the run's result depends on, as JSON:

```json
{record}
```
"""

_TABLE = """Top-1 accuracy on held-out images, with the frozen features, raw pixels in their place, and the same encoder
before training.

| protocol | this model | raw pixels | random initialisation | features that it reads |
|---|---|---|---|---|
{rows}"""

_TUNED_TABLE = """Top-1 accuracy on held-out images after fine-tuning, which trains all weights on with a classifier,
and of the same training from random weights.

| protocol | fine-tuned | from random weights |
|---|---|---|
{rows}"""

_DARL = (
    "pretrained by **DARL** (*Denoising Autoregressive Representation Learning*, Li, Bornschein & Chen, ICML 2024, "
    "[arXiv 2403.05196](https://arxiv.org/abs/2403.05196)) without labels"
)

_UNMEASURED = "The run has no row of accuracies in the result tables; `darl evaluate` measures them."


@dataclass(frozen=True, kw_only=True)
class CardExport(Export):
    """Base of the targets that the Hub can hold: a model card is written beside the model."""

    for_hub: ClassVar[bool] = True
    library: ClassVar[str]
    """The Hub's name of the library that loads the model."""
    license: str = field(
        default="unknown", metadata={"help": "licence of the weights, as the Hub writes it: mit, cc-by-nc-4.0, …"}
    )

    def __post_init__(self) -> None:
        known = re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license) is not None
        require(known, "license", "be written as on the Hub: apache-2.0, mit, cc-by-nc-4.0, other, …", self.license)

    def write(self, source: Source, folder: Path) -> None:
        """The card, and the model."""
        (folder / CARD_FILE).write_text(card(self, source), encoding="utf-8")
        self.write_model(source, folder)

    @abstractmethod
    def write_model(self, source: Source, folder: Path) -> None:
        """Write the model's files into a folder that holds the card."""


def card(export: CardExport, source: Source) -> str:
    """The card as Markdown with the Hub's header."""
    experiment = source.description.experiment
    name = f"darl-{re.sub('[^A-Za-z0-9]+', '-', experiment.data).strip('-')}-{experiment.trial_id}"
    text = _TEXT.format(
        name=name,
        training=_training(source),
        facts="\n".join(f"| {fact} | {value} |" for fact, value in _facts(source).items()),
        channels=experiment.channels,
        size=experiment.image_size,
        mean=_numbers(source.description.mean),
        std=_numbers(source.description.std),
        loading=export.loading(source, "FOLDER"),
        data=f"`{experiment.data}`: {experiment.content or 'its content is not recorded'}.",
        metrics=_table(source) or _UNMEASURED,
        record=json.dumps(experiment.to_record(), indent=2),
    )
    return f"---\n{_header(export, source, name)}\n---\n{text}"


def _header(export: CardExport, source: Source, name: str) -> str:
    """The Hub's header, as YAML."""
    from huggingface_hub import ModelCardData

    experiment, results = source.description.experiment, _results(source)
    header = ModelCardData(
        license=export.license,
        library_name=export.library,
        pipeline_tag="image-feature-extraction",
        tags=["darl", "vision-transformer", *_tags(source)],
        datasets=[experiment.data.removeprefix("hub:")] if experiment.data.startswith("hub:") else None,
        metrics=["accuracy"] if results else None,
        model_name=name,
        eval_results=results or None,
    )
    return header.to_yaml()


def _training(source: Source) -> str:
    """How the weights were made, as the end of a sentence."""
    from darl.model.objectives.next_patch import NextPatch

    experiment = source.description.experiment
    objective, tuned = experiment.objective, experiment.finetuning is not None
    if tuned and experiment.init is None:
        return "trained with labels from random weights, by the recipe of fine-tuning; its classifier is left out"
    what = (type(objective).__doc__ or "").splitlines()[0].rstrip(".")
    how = "trained with" if objective.needs_labels else "pretrained without"
    text = f"{how} labels by the objective `{objective.kind}` ({what[:1].lower()}{what[1:]})"
    text = _DARL if isinstance(objective, NextPatch) else text
    return f"{text}, and then fine-tuned with labels; its classifier is left out" if tuned else text


def _tags(source: Source) -> list[str]:
    """What the Hub finds the model by."""
    experiment = source.description.experiment
    if experiment.finetuning is not None:
        return ["fine-tuned" if experiment.init else "supervised"]
    own = experiment.objective
    return [*([] if own.needs_labels else ["self-supervised"]), own.kind]


def _facts(source: Source) -> dict[str, Any]:
    experiment, size = source.description.experiment, source.description.experiment.model
    weights = sum(value.numel() for value in source.encoder.parameters())
    colours = "grey" if experiment.channels == 1 else "RGB"
    tuning, objective = experiment.finetuning, str(experiment.objective)
    if tuning is not None:
        objective = f"fine-tuning of trial {tuning.source} ({objective})" if experiment.init else "fine-tuning's"
    return {
        "encoder": f"width {size.width}, depth {size.depth}, {size.heads} heads; {weights:,} weights",
        "images": f"{experiment.image_size} pixels, {colours}; patches of {size.patch_size}",
        "reading": f"order {experiment.order}, position {experiment.position}, "
        + ("causal" if experiment.causal else "no causal mask")
        + (f"; trained with {experiment.attention} attention" if experiment.attention else "")
        + (f"; trained in random orders, {experiment.random_order}" if experiment.random_order else ""),
        "readout": {"mean": "the mean of the patches", "last": "the last patch in the order"}[size.readout],
        "objective": objective,
        "noise": "-" if experiment.noise is None else str(experiment.noise),
        "training": f"{experiment.epochs} epochs, batch {experiment.batch_size}, seed {experiment.seed}",
    }


def _results(source: Source) -> "list[EvalResult]":
    """The accuracies for the Hub's `model-index`."""
    from huggingface_hub import EvalResult

    data = source.description.experiment.data.removeprefix("hub:")
    return [
        EvalResult(
            task_type="image-classification",
            task_name="image classification",  # the Hub keeps one name for a task on a data set
            dataset_type=data,
            dataset_name=data,
            metric_type="accuracy",
            metric_name=f"{metric.name}, top-1",
            metric_value=float(source.metrics[metric.column]),
        )
        for metric in _measured(source)
    ]


def _table(source: Source) -> str:
    """The accuracies beside their yardsticks: of frozen features, then of fine-tuning; empty where there are none."""
    frozen, tuned = list[str](), list[str]()
    for metric in _measured(source):
        columns = (metric.column, metric.pixels_column, metric.initial_column)
        own, pixels, initial = (metric.format_value(source.metrics.get(column)) or "-" for column in columns)
        if metric.pixels:
            readout = source.metrics.get(metric.column.replace("top1", "readout")) or "-"
            frozen.append(f"| {metric.name} | {own} | {pixels} | {initial} | {readout} |")
        else:
            tuned.append(f"| {metric.name} | {own} | {initial} |")
    tables = ((_TABLE, frozen), (_TUNED_TABLE, tuned))
    return "\n\n".join(text.format(rows="\n".join(rows)) for text, rows in tables if rows)


def _measured(source: Source) -> "list[Metric]":
    """The metrics with yardsticks that the run's row has."""
    from darl.metrics import METRICS

    return [metric for metric in METRICS.values() if metric.yardsticks and metric.column in source.metrics]


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
