"""What `darl evaluate --robustness` writes: a table and figures of accuracies on corrupted images."""

import argparse
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from darl.cli.layers import writable
from darl.cli.transfer import exit_for, pairs, table_bytes
from darl.variants import require

if TYPE_CHECKING:
    import torch

    from darl.cli.transfer import Pair
    from darl.evaluation.robustness import Robustness
    from darl.evaluation.transfer import Target
    from darl.storage.folder import ResultsFolder
    from darl.training.checkpoint import Pretrained

__all__ = ["RobustnessRow", "write_robustness"]

MODEL, PIXELS, RANDOM = "model", "raw pixels", "random weights"


@dataclass(frozen=True, kw_only=True)
class RobustnessRow:
    """The accuracy under one corruption at one severity: a row of the table. Accuracies are fractions in [0, 1]."""

    run: str
    data: str
    corruption: str
    """Its kind; `clean` (severity 0) for images as they are."""
    severity: int
    top1: float | None = None
    """Of the linear probe that was fitted to the features of clean training images; None where `error` says why."""
    half_width: float | None = None
    """Half its 95 % interval over the images."""
    pixels: float | None = None
    """The same for raw pixels, with a probe of their own."""
    random: float | None = None
    """The same for the model before training."""
    change: float | None = None
    """The mean absolute change of the pixels, in levels of 255: 0 where images are too small to be blurred."""
    images: int | None = None
    split: str | None = None
    error: str | None = None


def write_robustness(
    runs: "dict[str, Pretrained]", targets: "list[Target]", device: "torch.device", flags: argparse.Namespace
) -> None:
    """Judge every run on corrupted images of every data set. Exits with 1 if a data set failed.

    The table is written whole after each evaluation.
    """
    from darl.evaluation.robustness import CLEAN

    folder = writable(flags.output or "robustness")
    rows: list[RobustnessRow] = []
    for number, pair in enumerate(pairs(runs, targets, flags), start=1):
        try:
            measured = _measure(pair, device)
        except Exception as error:  # whatever one pair lacks, the others go on
            error_row = RobustnessRow(run=pair.run, data=pair.target.name, corruption=CLEAN, severity=0)
            rows.append(replace(error_row, error=pair.said(error)))
        else:
            rows += _rows(measured, pair)
            _print(measured, pair)
            _draw(folder, measured, "robustness" if len(runs) * len(targets) == 1 else f"robustness_{number}")
        folder.put("robustness.parquet", table_bytes(rows))
    print(folder.path("robustness.parquet"))
    exit_for((row.run, row.data, row.top1 is not None) for row in rows)


def _measure(pair: "Pair", device: "torch.device") -> "list[Robustness]":
    from darl.evaluation.pixels import Pixels
    from darl.evaluation.robustness import corruptions_for, measure_robustness
    from darl.evaluation.subject import Subject, labelled

    dataset, experiment = pair.dataset(), pair.pretrained.experiment
    require(labelled(dataset), "data", "have labels in both splits for --robustness", dataset.name)
    model, random = pair.pretrained.model.to(device), pair.pretrained.untrained().to(device)
    sources = {
        MODEL: lambda data: Subject(model, data, device),
        PIXELS: lambda data: Pixels(data, device),
        RANDOM: lambda data: Subject(random, data, device),
    }
    return list(measure_robustness(sources, dataset, corruptions_for(experiment.channels)))


def _rows(measured: "Sequence[Robustness]", pair: "Pair") -> list[RobustnessRow]:
    from darl.evaluation.robustness import IMAGES

    dataset = pair.dataset()
    values = {(each.source, each.corruption, each.severity): each for each in measured}
    return [
        RobustnessRow(
            run=pair.run, data=pair.target.name, corruption=own.corruption, severity=own.severity, top1=own.top1,
            half_width=own.half_width, change=own.change, pixels=values[PIXELS, own.corruption, own.severity].top1,
            random=values[RANDOM, own.corruption, own.severity].top1,
            images=min(len(dataset.validation), IMAGES), split=dataset.split,
        )
        for own in measured
        if own.source == MODEL
    ]  # fmt: skip


def _print(measured: "Sequence[Robustness]", pair: "Pair") -> None:
    """A line for each corruption: its five severities, and the means beside those of the yardsticks."""
    from rich.table import Table

    from darl.evaluation.robustness import CLEAN, accuracy_of, summary, unchanged
    from darl.report.terminal import wide_console

    print(f"{pair.run} on {pair.target.name}")
    own = [each for each in measured if each.source == MODEL]
    caption = "top-1 (%) at severity 1 to 5, and means over these"
    table = Table("corruption", *map(str, range(1, 6)), "mean", PIXELS, RANDOM, caption=caption)
    for corruption in dict.fromkeys(each.corruption for each in own):
        cells = [f"{100 * each.top1:.1f}" for each in own if each.corruption == corruption]
        cells = [""] * 5 if corruption == CLEAN else cells
        means = (f"{100 * accuracy_of(measured, source, corruption):.1f}" for source in (MODEL, PIXELS, RANDOM))
        table.add_row(corruption, *cells, *means)
    wide_console().print(table)
    for source in (MODEL, PIXELS, RANDOM):
        print(f"{source}: {summary(measured, source)}")
    if same := unchanged(measured):
        print(f"these change nothing in images of {pair.pretrained.experiment.image_size} pixels: {', '.join(same)}")


def _draw(folder: "ResultsFolder", measured: "Sequence[Robustness]", name: str) -> None:
    from darl.report.figures.robustness import draw_robustness
    from darl.report.figures.style import applied

    picture = io.BytesIO()
    with applied():
        draw_robustness(measured).figure.savefig(picture, format="png", dpi=150)
    folder.put(f"{name}.png", picture.getvalue())
    print(folder.path(f"{name}.png"))
