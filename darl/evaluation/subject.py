"""The model under evaluation, and its frozen features, which all protocols of one evaluation share."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset, Images, Stream
    from darl.model.darl import Darl

__all__ = ["BATCH", "Split", "Subject", "evaluating", "labelled", "readouts"]

BATCH = 512
"""Images per batch."""

Split = Literal["train", "validation"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, the data that it is evaluated on, and the device. Readouts are computed once and kept."""

    model: Darl
    dataset: Dataset
    device: torch.device
    _readouts: dict[tuple[Split, int | None], tuple[Tensor, Tensor]] = field(
        default_factory=dict[tuple[Split, int | None], tuple[Tensor, Tensor]], repr=False
    )

    @property
    def labelled(self) -> bool:
        """Whether both splits have labels."""
        return labelled(self.dataset)

    @property
    def classes(self) -> int:
        """Number of classes: one more than the highest label of both splits."""
        train, validation = self.dataset.train.labels, self.dataset.validation.labels
        assert train is not None
        assert validation is not None
        return 1 + max(int(train.max()), int(validation.max()))

    def readouts(
        self, split: Split, size: int | None = None
    ) -> tuple[Float[Tensor, "images width"], Int[Tensor, " images"]]:
        """The function `readouts` for a split of the data, cached."""
        if (split, size) not in self._readouts:
            images: Images | Stream = getattr(self.dataset, split)
            self._readouts[split, size] = readouts(self.model, self.dataset, images, device=self.device, size=size)
        return self._readouts[split, size]


def readouts(
    model: Darl, dataset: Dataset, split: Images | Stream, *, device: torch.device, size: int | None = None
) -> tuple[Float[Tensor, "images width"], Int[Tensor, " images"]]:
    """The frozen readout (float32) of every image of a labelled split, and its label, on the device.

    size: pixels that the images are resized to first, bicubic. Under autocast the model's passes follow it. Raises
    ArithmeticError where a feature is not finite.
    """
    from darl.data import evaluation_batches

    features: list[Tensor] = []
    with torch.no_grad(), evaluating(model):
        for images in evaluation_batches(dataset, split, batch_size=BATCH, device=device):
            if size is not None:
                images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
            features.append(model.forward_head(model.forward_features(images), pre_logits=True).float())
    x = torch.cat(features)
    if not x.isfinite().all():
        raise ArithmeticError("the features are not finite: training has diverged; try a lower learning rate")
    assert split.labels is not None
    return x, torch.tensor(split.labels, device=device)


def labelled(dataset: Dataset) -> bool:
    """Whether both splits have labels."""
    return dataset.train.labels is not None and dataset.validation.labels is not None


@contextmanager
def evaluating(model: Darl) -> Generator[None]:
    """Within, the model is in evaluation mode; its previous mode is restored afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
