"""The metrics, each defined once: column, name, direction, unit, and what its values may be compared across.

Code that shows, ranks or stores metrics reads `METRICS`. A new metric is one entry here; the evaluation protocol that
measures it names it in `gives` (`darl.evaluation.protocol`), from which the tables take their columns.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from darl.aspects import Aspect

__all__ = [
    "ATTENTIVE", "DENSE_METRICS", "ENLARGED_PROBE", "FEW_SHOT_5", "FEW_SHOT_10", "FEW_SHOT_WIDTHS", "FINETUNE",
    "GAMMA_GRID", "GAMMA_LOSSES", "GENERATION", "KNN", "KNN_10", "LOSS_BY_PATCH", "LOSS_BY_STEP", "METRICS",
    "OVER_IMAGES", "PROBE", "RANKING_METRICS", "RANKME", "RECONSTRUCTION", "TOKENS_USED", "TOKEN_PERPLEXITY",
    "TRAINING_LOSS", "VALIDATION_LOSS", "Metric", "Unit",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How values of a metric, and differences between them, are written."""

    label: str
    """What follows the metric's name on an axis."""
    factor: int
    """Written values are the tables' values times this."""
    value_format: str
    """Format of a written value."""
    aligned_format: str
    """The same with a fixed number of decimals, for values in consecutive lines."""
    difference_format: str
    """Format of a written difference."""
    difference_unit: str
    """The unit of differences."""
    unit_in_sentences: bool
    """Whether `difference_unit` follows a difference in a sentence: `0.3 points`."""
    highest: float
    """Upper bound of values and of differences, in the tables' scale."""


TOP1 = Unit(
    label=", top-1 (%)", factor=100, value_format="{:.1f} %", aligned_format="{:.1f} %", difference_format="{:.1f}",
    difference_unit="points", unit_in_sentences=True, highest=1.0,
)  # fmt: skip
"""Accuracies: fractions in the tables, percent in texts, and their differences in points."""

TOP5 = replace(TOP1, label=", top-5 (%)")
PERCENT = replace(TOP1, label=" (%)")

MSE = Unit(
    label=" (MSE)", factor=1, value_format="{:.4g}", aligned_format="{:.4f}", difference_format="{:.3g}",
    difference_unit="MSE", unit_in_sentences=False, highest=math.inf,
)  # fmt: skip
"""Losses: mean squared errors of normalised pixels."""

DIMENSIONS = Unit(
    label=" (effective dimensions)", factor=1, value_format="{:.4g}", aligned_format="{:.3f}",
    difference_format="{:.3g}", difference_unit="dimensions", unit_in_sentences=True, highest=math.inf,
)  # fmt: skip
"""Numbers of dimensions that features use."""

DISTANCE = replace(MSE, label="", difference_unit="distance")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that says how good a model is."""

    column: str
    """Its column in the tables, and its name on the command line."""
    name: str
    """Its name in texts and figures."""
    short: str = ""
    """Its name in a line of progress; empty where it is not shown there."""
    direction: Literal["max", "min"]
    """Which way is better."""
    unit: Unit
    not_across: frozenset[Aspect] = frozenset()
    """Experiments that differ in a field with one of these aspects cannot be compared by this metric."""
    why_not_comparable: str = ""
    """Why they cannot be compared; part of messages."""
    ranks_trials: bool = False
    """Whether a sweep may rank its trials by it."""
    yardsticks: bool = False
    """Whether the tables also keep its value before training, and its value for raw pixels in the features' place."""
    pixels: bool = True
    """Whether raw pixels can stand in the features' place: not where the encoder itself is trained."""
    tested: bool = False
    """Whether finished trials also have it on the test split of data that has no validation split."""
    gain_by: str = ""
    """The column of the metric whose distance from the yardsticks is reported in its place; empty for its own."""
    half_width: str = ""
    """The column of half the width of its 95 % interval; empty where none is measured."""
    proxy: str = ""
    """The column of a cheaper metric that replaces it at a search's first rung; empty where there is none."""

    @property
    def higher_is_better(self) -> bool:
        """Whether `direction` is `max`."""
        return self.direction == "max"

    @property
    def initial_column(self) -> str:
        """The column of its value before training."""
        return f"init_{self.column}"

    @property
    def has_pixels(self) -> bool:
        """Whether the tables keep its value for raw pixels."""
        return self.yardsticks and self.pixels

    @property
    def pixels_column(self) -> str:
        """The column of its value for raw pixels, where `has_pixels`."""
        return f"pixels_{self.column}"

    @property
    def test_column(self) -> str:
        """The column of its value on the test split."""
        return f"test_{self.column}"

    @property
    def axis(self) -> str:
        """An axis's label, with the unit: `kNN, top-1 (%)`."""
        return f"{self.name}{self.unit.label}"

    def format_value(self, value: float | None) -> str:
        """`62.1 %` or `0.1235` (four significant digits); nothing for None and NaN."""
        return self._write(self.unit.value_format, value)

    def format_aligned(self, value: float | None) -> str:
        """`62.1 %` or `0.1235` (four decimals); nothing for None and NaN."""
        return self._write(self.unit.aligned_format, value)

    def format_difference(self, difference: float) -> str:
        """A difference without its unit: `0.3` (points), `0.0123` (of a loss)."""
        return self.unit.difference_format.format(self.unit.factor * difference)

    def format_difference_with_unit(self, difference: float) -> str:
        """A difference in a sentence: `0.3 points`, or `0.0123` of a loss."""
        unit = f" {self.unit.difference_unit}" if self.unit.unit_in_sentences else ""
        return self.format_difference(difference) + unit

    def _write(self, written: str, value: float | None) -> str:
        return "" if value is None or math.isnan(value) else written.format(self.unit.factor * value)


PROBE = Metric(
    column="probe_top1", name="linear probe", short="probe", direction="max", unit=TOP1, ranks_trials=True,
    yardsticks=True, proxy="knn_top1", half_width="probe_half_width", tested=True,
)  # fmt: skip
"""The accuracy of a linear classifier on the frozen features."""

KNN = Metric(
    column="knn_top1", name="kNN", short="kNN", direction="max", unit=TOP1, ranks_trials=True, yardsticks=True,
    half_width="knn_half_width", tested=True,
)  # fmt: skip
"""The accuracy of the 20 nearest training images."""

KNN_10 = Metric(column="knn10_top1", name="kNN of 10", direction="max", unit=TOP1, yardsticks=True)
"""The same of the 10 nearest."""

FEW_SHOT_5 = Metric(
    column="few_shot_5_top1", name="5 labels a class", short="5 labels", direction="max", unit=TOP1, ranks_trials=True,
    yardsticks=True, proxy="knn_top1", half_width="few_shot_5_half_width", tested=True,
)  # fmt: skip
"""The accuracy of a linear classifier that is given 5 labelled images of each class; a mean over draws."""

FEW_SHOT_10 = Metric(
    column="few_shot_10_top1", name="10 labels a class", short="10 labels", direction="max", unit=TOP1,
    ranks_trials=True, yardsticks=True, proxy="knn_top1", half_width="few_shot_10_half_width",
)  # fmt: skip

ATTENTIVE = Metric(
    column="attentive_top1", name="attentive probe", short="attentive", direction="max", unit=TOP1, ranks_trials=True,
    yardsticks=True, proxy="knn_top1", half_width="attentive_half_width", tested=True,
)  # fmt: skip
"""The accuracy of a classifier that reads all frozen patch tokens by attention."""

FINETUNE = Metric(
    column="finetune_top1", name="fine-tuning", short="fine-tuned", direction="max", unit=TOP1, ranks_trials=True,
    yardsticks=True, pixels=False, proxy="knn_top1", half_width="finetune_half_width", tested=True,
)  # fmt: skip
"""The accuracy of a classifier whose encoder is trained too. Before training: supervised from random weights."""


def _over_images(metric: Metric) -> tuple[Metric, Metric, Metric]:
    prefix, by = metric.column.removesuffix("_top1"), metric.column
    width = f"{metric.name}, half width of the interval over images"
    return (
        Metric(column=f"{prefix}_balanced_top1", name=f"{metric.name}, balanced", direction="max", unit=TOP1),
        Metric(column=f"{prefix}_top5", name=f"{metric.name}, five guesses", direction="max", unit=TOP5, gain_by=by),
        Metric(column=metric.half_width, name=width, direction="min", unit=TOP1, gain_by=by),
    )


OVER_IMAGES: Mapping[str, tuple[Metric, ...]] = {
    metric.column: _over_images(metric) for metric in (PROBE, KNN, ATTENTIVE, FINETUNE)
}
"""What `darl.evaluation.accuracy.accuracies` gives beside an accuracy, by its column: the mean over classes of each
class's; top-5, the fraction of images whose class is among the five best, None with up to 10 classes; half
its 95 % interval over test images.
"""

FEW_SHOT_WIDTHS: Mapping[str, Metric] = {
    metric.column: Metric(
        column=metric.half_width, name=f"{metric.name}, half width of the interval",
        direction="min", unit=TOP1, gain_by=metric.column,
    )
    for metric in (FEW_SHOT_5, FEW_SHOT_10)
}  # fmt: skip
"""Half the 95 % interval of the mean over draws of labelled images, by the metric's column."""

TRAINING_LOSS = Metric(
    column="train_loss", name="training loss", short="train loss", direction="min", unit=MSE, gain_by=PROBE.column,
    not_across=frozenset({Aspect.INPUT, Aspect.TARGET, Aspect.LOSS}),
    why_not_comparable="raw pretraining losses of different noise schedules, targets or orders say how hard the task "
    "is, not what the model has learned",
)  # fmt: skip

_TARGETS = "the targets, or what is seen of them, are not the same"

VALIDATION_LOSS = Metric(
    column="val_loss", name="validation loss", short="val loss", direction="min", unit=MSE, gain_by=PROBE.column,
    ranks_trials=True, not_across=frozenset({Aspect.INPUT, Aspect.TARGET}), why_not_comparable=_TARGETS,
)  # fmt: skip
"""The denoising error on `GAMMA_GRID`, whatever noise schedule a model was trained with."""

ENLARGED_PROBE = Metric(
    column="probe_top1_enlarged", name="linear probe on enlarged images", direction="max", unit=TOP1
)

GAMMA_GRID = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""The signal fractions of the schedule-independent validation loss."""

GAMMA_LOSSES: Mapping[float, Metric] = {
    gamma: Metric(
        column=f"val_loss_gamma_{gamma:.1f}".replace(".", "_"),
        name=f"validation loss at gamma {gamma:.1f}", direction="min", unit=MSE, gain_by=PROBE.column,
        not_across=VALIDATION_LOSS.not_across, why_not_comparable=_TARGETS,
    )
    for gamma in GAMMA_GRID
}  # fmt: skip
"""The validation loss at each gamma of `GAMMA_GRID`."""

LOSS_BY_STEP, LOSS_BY_PATCH = "val_loss_by_step", "val_loss_by_patch"
"""Columns of lists: the validation loss at each step along the sequence, and of each patch in raster order."""

RANKME = Metric(column="rankme", name="RankMe", direction="max", unit=DIMENSIONS, gain_by=PROBE.column)
"""The effective number of dimensions of the features; usually higher is better, but it does not judge them."""

GENERATION: Mapping[str, Metric] = {
    f"{name}{end}": Metric(
        column=f"generation_{name}{end}", name=f"{words} of {whose}", unit=unit, pixels=False,
        direction="min" if unit is DISTANCE else "max", gain_by=PROBE.column,
    )
    for end, whose in (("", "drawn images"), ("_real", "other real images"))
    for name, words, unit in (
        ("frechet", "Fréchet distance", DISTANCE), ("kernel", "kernel distance", DISTANCE),
        ("precision", "precision", PERCENT), ("recall", "recall", PERCENT),
    )
}  # fmt: skip
"""Drawn images beside held-out real ones; `…_real`: other real images beside them, the floor or ceiling."""

OF_TOKENIZERS = RECONSTRUCTION, TOKEN_PERPLEXITY, TOKENS_USED = tuple(
    Metric(column=column, name=name, short=short, direction=better, unit=unit, gain_by=PROBE.column)  # pyright: ignore
    for column, name, short, better, unit in (
        ("reconstruction_mse", "reconstruction error", "reconstruction", "min", MSE),
        ("token_perplexity", "tokens' perplexity", "perplexity", "max", DIMENSIONS),
        ("tokens_used", "share of tokens in use", "", "max", PERCENT),
    )
)  # fmt: skip
"""Of a tokenizer, on the validation images: see `darl.evaluation.reconstruction`."""

METRICS: Mapping[str, Metric] = {
    metric.column: metric
    for metric in (
        *(PROBE, KNN, FEW_SHOT_5, FEW_SHOT_10, ATTENTIVE, FINETUNE),
        *(KNN_10, TRAINING_LOSS, VALIDATION_LOSS, ENLARGED_PROBE, RANKME, *OF_TOKENIZERS),
        *(metric for beside in OVER_IMAGES.values() for metric in beside),
        *(*FEW_SHOT_WIDTHS.values(), *GAMMA_LOSSES.values(), *GENERATION.values()),
    )
}
"""Every metric by its column."""

RANKING_METRICS = tuple(metric.column for metric in METRICS.values() if metric.ranks_trials)
"""The columns that a sweep may rank its trials by, without the training loss: see its `why_not_comparable`."""

DENSE_METRICS: Mapping[str, Metric] = {
    metric.column: metric
    for metric in (
        Metric(column="segmentation_miou", name="segmentation, mIoU", direction="max", unit=PERCENT, yardsticks=True),
        Metric(column="detection_box_ap", name="detection, box AP", direction="max", unit=PERCENT, pixels=False),
        Metric(column="detection_mask_ap", name="detection, mask AP", direction="max", unit=PERCENT, pixels=False),
    )
}  # fmt: skip
"""Metrics of dense protocols (`darl.evaluation.dense`) by column: they need data of their own, so no sweep has them."""
