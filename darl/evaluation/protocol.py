"""What a model has learned: linear probe and kNN on frozen features, and a loss that schedules cannot bend.

Losses under different noise schedules are not comparable: the noisier the schedule, the larger the loss of the same
model. Comparable are the accuracy of simple classifiers on the frozen readout, and the denoising error on one fixed
grid of signal fractions with fixed noise, whatever the model was trained with. All of it is deterministic.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from darl.data import Dataset
from darl.evaluation.denoising import denoising_losses
from darl.evaluation.probes import LinearProbe, enlarged_size, evaluating, knn, readouts
from darl.metrics import GAMMA_GRID, gamma_column
from darl.model.darl import Darl

if TYPE_CHECKING:
    pass

__all__ = ["Measures", "evaluate", "evenly"]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What `evaluate` measures: all but `enlarged`, or less where that is enough."""

    losses: bool = True
    knn: bool = True
    linear: bool = True
    enlarged: bool = False
    """The linear probe also on larger validation images; see `enlarged_size`."""

    def __call__(self, model: Darl, dataset: Dataset, device: torch.device) -> dict[str, float | None]:
        """What `darl.training.pretrain.fit` asks for."""
        return evaluate(model, dataset, device=device, measures=self)

    @classmethod
    def only(cls, metric: str) -> "Measures":
        """What one metric needs: `val_loss`, `knn_top1` or `probe_top1`."""
        return cls(losses=metric == "val_loss", knn=metric == "knn_top1", linear=metric == "probe_top1")


def evenly(epochs: int, count: int, measures: Measures = Measures()) -> dict[int, Measures]:
    """At most `count` epochs to evaluate at, evenly spaced, the last one among them."""
    return {math.ceil(epochs * (index + 1) / count): measures for index in range(count)}


def evaluate(
    model: Darl,
    dataset: Dataset,
    *,
    device: torch.device,
    measures: Measures = Measures(),
) -> dict[str, float | None]:
    """`probe_top1` and `knn_top1` in [0, 1], `val_loss` and one loss per gamma of the grid, `probe_top1_enlarged`.

    None where something is not measured, or cannot be: the probes without labels, the losses where the objective does
    not predict every patch. Under autocast the model's passes follow it; the probes are float32 in any case.
    """
    result: dict[str, float | None] = dict.fromkeys(
        ("val_loss", *map(gamma_column, GAMMA_GRID), "probe_top1", "knn_top1", "probe_top1_enlarged")
    )
    with evaluating(model):
        if measures.losses and model.objective.can_denoise:
            losses = denoising_losses(model, dataset, device=device)
            result["val_loss"] = sum(losses.values()) / len(losses)
            result |= {gamma_column(gamma): loss for gamma, loss in losses.items()}
        labelled = dataset.train.labels is not None and dataset.validation.labels is not None
        if labelled and (measures.knn or measures.linear):
            result |= _probes(model, dataset, device, measures)
    return result


def _probes(model: Darl, dataset: Dataset, device: torch.device, measures: Measures) -> dict[str, float]:
    x, y = readouts(model, dataset, dataset.train, device=device)
    test_x, test_y = readouts(model, dataset, dataset.validation, device=device)
    classes = int(max(y.max(), test_y.max())) + 1
    result: dict[str, float] = {}
    with torch.autocast(device.type, enabled=False):
        if measures.knn:
            result["knn_top1"] = knn(x, y, test_x, test_y, classes)
        if measures.linear:
            probe = LinearProbe.fit(x, y, classes)
            result["probe_top1"] = probe.top1(test_x, test_y)
    if measures.linear and measures.enlarged:
        size = enlarged_size(model.image_size[0], model.patch_size)
        larger_x, _ = readouts(model, dataset, dataset.validation, device=device, size=size)
        with torch.autocast(device.type, enabled=False):
            result["probe_top1_enlarged"] = probe.top1(larger_x, test_y)
    return result
