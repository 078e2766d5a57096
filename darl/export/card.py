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

__all__ = ["CARD_FILE", "CardExport", "card"]

CARD_FILE = "README.md"

_TEXT = """
# {name}

A Vision Transformer that was pretrained by **DARL** (*Denoising Autoregressive Representation Learning*, Li, Bornschein
& Chen, ICML 2024, [arXiv 2403.05196](https://arxiv.org/abs/2403.05196)) without labels. It gives a feature vector of
each patch of an image, and one of the image.

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
    from huggingface_hub import ModelCardData

    experiment = source.description.experiment
    name = f"darl-{re.sub('[^A-Za-z0-9]+', '-', experiment.data).strip('-')}-{experiment.trial_id}"
    results = _results(source)
    header = ModelCardData(
        license=export.license,
        library_name=export.library,
        pipeline_tag="image-feature-extraction",
        tags=["darl", "vision-transformer", "self-supervised", experiment.objective.kind],
        datasets=[experiment.data.removeprefix("hub:")] if experiment.data.startswith("hub:") else None,
        metrics=["accuracy"] if results else None,
        model_name=name,
        eval_results=results or None,
    )
    text = _TEXT.format(
        name=name,
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
    return f"---\n{header.to_yaml()}\n---\n{text}"


def _facts(source: Source) -> dict[str, Any]:
    experiment, size = source.description.experiment, source.description.experiment.model
    weights = sum(value.numel() for value in source.encoder.parameters())
    colours = "grey" if experiment.channels == 1 else "RGB"
    return {
        "encoder": f"width {size.width}, depth {size.depth}, {size.heads} heads; {weights:,} weights",
        "images": f"{experiment.image_size} pixels, {colours}; patches of {size.patch_size}",
        "reading": f"order {experiment.order}, position {experiment.position}, "
        + ("causal" if experiment.causal else "no causal mask"),
        "readout": {"mean": "the mean of the patches", "last": "the last patch in the order"}[size.readout],
        "objective": str(experiment.objective),
        "noise": "-" if experiment.noise is None else str(experiment.noise),
        "training": f"{experiment.epochs} epochs, batch {experiment.batch_size}, seed {experiment.seed}",
    }


def _results(source: Source) -> "list[EvalResult]":
    """The accuracies for the Hub's `model-index`."""
    from huggingface_hub import EvalResult

    from darl.metrics import METRICS

    data = source.description.experiment.data.removeprefix("hub:")
    return [
        EvalResult(
            task_type="image-classification",
            task_name="classification by frozen features",
            dataset_type=data,
            dataset_name=data,
            metric_type="accuracy",
            metric_name=f"{metric.name}, top-1",
            metric_value=float(source.metrics[metric.column]),
        )
        for metric in METRICS.values()
        if metric.yardsticks and metric.column in source.metrics
    ]


def _table(source: Source) -> str:
    """The accuracies beside their yardsticks; empty where there are none."""
    from darl.metrics import METRICS

    rows: list[str] = []
    for metric in METRICS.values():
        if metric.yardsticks and metric.column in source.metrics:
            columns = (metric.column, metric.pixels_column, metric.initial_column)
            values = [metric.format_value(source.metrics.get(column)) or "-" for column in columns]
            readout = source.metrics.get(metric.column.replace("top1", "readout")) or "-"
            rows.append(f"| {' | '.join([metric.name, *values, readout])} |")
    return _TABLE.format(rows="\n".join(rows)) if rows else ""


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
