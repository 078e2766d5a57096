"""The yardstick that every answer has beside it: the same protocols on the raw pixels.

Features that are worse than the pixels that they were computed from are not worth their training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.once import data_key, once
from darl.evaluation.pca import Projection, components_of
from darl.evaluation.subject import BATCH, LARGEST, MEMORY, FeatureSource, Readout, Split

if TYPE_CHECKING:
    from jaxtyping import Float

    from darl.data import Dataset
    from darl.evaluation.feature_protocol import FeatureProtocol
    from darl.evaluation.protocol import Value

__all__ = ["Pixels", "measure_pixels"]

PIXELS = Readout(0, "pixels")


@dataclass(frozen=True, eq=False)
class Pixels(FeatureSource):
    """Normalised pixels as features.

    Images of more than 3,072 numbers are averaged to a smaller size first, and so are images that are too many for 3
    GiB: ImageNet's are read at 14 pixels.
    """

    dataset: Dataset
    device: torch.device
    _projections: dict[Readout, Projection] = field(default_factory=dict[Readout, Projection], repr=False)

    def candidates(self, block: str, readout: str) -> list[Readout]:
        """The pixels, or their principal components: there is nothing to choose."""
        return [Readout(0, readout) if components_of(readout) else PIXELS]

    def features(
        self, split: Split, readouts: Sequence[Readout], *, masked: bool = True, size: int | None = None
    ) -> Mapping[Readout, Float[Tensor, "images width"]]:
        """See `FeatureSource.features`; there is no mask, and `size` changes nothing."""
        return {readout: self._projected(readout, self._whole(split)) for readout in readouts}

    def _whole(self, split: Split) -> Float[Tensor, "images width"]:
        from darl.data import evaluation_batches

        images = getattr(self.dataset, split)
        most = min(LARGEST, MEMORY // (4 * (len(self.dataset.train) + len(self.dataset.validation))))
        whole, row = None, 0
        for batch in evaluation_batches(self.dataset, images, batch_size=BATCH, device=self.device):
            flat = _flat(batch, most)
            whole = flat.new_empty(len(images), flat.shape[1]) if whole is None else whole
            whole[row : row + len(flat)] = flat
            row += len(flat)
        assert whole is not None
        return whole

    def _projected(self, readout: Readout, x: Tensor) -> Tensor:
        """The pixels as they are, or their components; these are those of the training images."""
        most = components_of(readout.pooling)
        if most is None:
            return x
        if readout not in self._projections:
            self._projections[readout] = Projection.fit(self._whole("train"), most)
        return self._projections[readout](x)


def measure_pixels(protocol: FeatureProtocol, dataset: Dataset, device: torch.device) -> Mapping[str, Value]:
    """What the protocol measures on the pixels, by the metrics' `pixels_column`; measured once for a data set."""

    def measure() -> Mapping[str, Value]:
        with torch.autocast(device.type, enabled=False):
            result = protocol.judge(Pixels(dataset.deciding, device))
        judged = [each for each in protocol.gives if each.has_pixels and each.column in result]
        return {each.pixels_column: result[each.column] for each in judged}

    key = data_key(dataset.deciding, device)
    return once(None if key is None else (protocol, PIXELS, key), measure)


def _flat(images: Float[Tensor, "batch channels height width"], most: int) -> Float[Tensor, "batch numbers"]:
    numbers = images[0].numel()
    if numbers > most:
        shrink = (most / numbers) ** 0.5
        size = max(1, int(images.shape[2] * shrink)), max(1, int(images.shape[3] * shrink))
        images = F.adaptive_avg_pool2d(images, size)
    return images.flatten(1)
