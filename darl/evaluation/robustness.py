"""Robustness: a linear probe, fitted to the features of clean images, tested on corrupted ones.

After ImageNet-C (Hendrycks and Dietterich 2019, arXiv 1903.12261): every corruption at five severities, applied to the
validation images at the size that the model reads. Raw pixels and the model before training are judged alike. This is
not the paper's mCE, which divides errors by AlexNet's: accuracies stand beside the clean one of the same classifier.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from darl.data.splits import Images
from darl.evaluation.accuracy import accuracies, best_classes
from darl.evaluation.corruptions.base import SEVERITIES, Corruption
from darl.evaluation.linear import LinearProbe, LinearProtocol
from darl.evaluation.subject import FeatureSource, Readout
from darl.randomness import generator

if TYPE_CHECKING:
    from darl.data import Dataset, Stream

__all__ = [
    "CLEAN",
    "IMAGES",
    "Robustness",
    "accuracy_of",
    "corruptions_for",
    "measure_robustness",
    "summary",
    "unchanged",
]

IMAGES = 5_000
"""Most validation images that are corrupted; of more, as many are drawn, always the same."""

BATCH = 256

CONSTANT = 1e-5
"""The largest deviation, relative to the mean, of features that are taken to be constant."""

CLEAN = "clean"
"""What stands in a corruption's place for images as they are; their severity is 0."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """The accuracy of one classifier on images of one corruption and severity."""

    source: str
    """Whose features it reads: a name that the caller gave."""
    corruption: str
    severity: int
    top1: float
    """In [0, 1]."""
    half_width: float
    """Half its 95 % interval over the images."""
    change: float
    """The mean absolute change of the pixels, in levels of 255."""


def corruptions_for(channels: int) -> list[Corruption]:
    """Every known corruption; of grey images those that change more than colours."""
    return [kind() for kind in Corruption.kinds().values() if channels > 1 or not kind.colour]


def measure_robustness(
    sources: Mapping[str, Callable[["Dataset"], FeatureSource]],
    dataset: "Dataset",
    corruptions: Sequence[Corruption],
    protocol: LinearProtocol | None = None,
) -> Iterator[Robustness]:
    """Clean images first, then each corruption and severity, for every source of features.

    Each source has the linear probe of `LinearProtocol`: block, pooling and penalty are chosen on clean training
    images. The cost is a pass over the validation images for each corruption and severity.

    Args:
        sources: by name, what gives a source of features of a data set.
        dataset: labelled; its validation images are corrupted.
        corruptions: the kinds, each at all severities.
        protocol: how the probe is fitted; as usual where None is given.

    """
    clean, indices = _in_memory(dataset.validation)
    fitted = {name: _fit(source(dataset), protocol or LinearProtocol()) for name, source in sources.items()}

    def judged(corruption: str, severity: int, pixels: np.ndarray) -> Iterator[Robustness]:
        changed = replace(dataset, validation=Images(pixels, clean.labels), test=None)
        change = _change(clean.pixels, pixels)
        for name, source in sources.items():
            values = _accuracy(source(changed), *fitted[name], dataset.class_count)
            yield Robustness(source=name, corruption=corruption, severity=severity, change=change, **values)

    yield from judged(CLEAN, 0, clean.pixels)
    for corruption in corruptions:
        for severity in SEVERITIES:
            yield from judged(corruption.kind, severity, _corrupted(corruption, severity, clean.pixels, indices))


def unchanged(rows: Iterable[Robustness]) -> list[str]:
    """The corruptions that change nothing at any severity: blur of images of few pixels."""
    most = dict[str, float]()
    for row in rows:
        most[row.corruption] = max(row.change, most.get(row.corruption, 0.0))
    return [corruption for corruption, change in most.items() if corruption != CLEAN and change == 0]


def accuracy_of(rows: Iterable[Robustness], source: str, corruption: str | None = None) -> float:
    """The mean over severities of one corruption's accuracies; of all corruptions where None is named."""
    own = [row for row in rows if row.source == source]
    if corruption is None:
        return statistics.fmean(row.top1 for row in own if row.corruption != CLEAN)
    return statistics.fmean(row.top1 for row in own if row.corruption == corruption)


def summary(rows: Sequence[Robustness], source: str) -> str:
    """`clean 91.0 %, corrupted 54.6 %, which is 60.0 % of it`: a mean over corruptions and severities."""
    clean, mean = accuracy_of(rows, source, CLEAN), accuracy_of(rows, source)
    relative = f", which is {100 * mean / clean:.1f} % of it" if clean else ""
    return f"clean {100 * clean:.1f} %, corrupted {100 * mean:.1f} %{relative}"


def _fit(source: FeatureSource, protocol: LinearProtocol) -> tuple[Readout, LinearProbe]:
    """The probe, without weights for features that never vary in training.

    Such weights are of rounding errors, which standardising enlarges. They are harmless on clean images, where these
    features never vary either; noise on a border that was always black would decide by them.
    """
    with torch.autocast(source.device.type, enabled=False):
        readout, probe, _ = protocol.fit(source)
    varies = probe.std > CONSTANT * probe.mean.abs().clamp(min=1)
    return readout, replace(probe, weight=probe.weight * varies[:, None])


def _accuracy(source: FeatureSource, readout: Readout, probe: LinearProbe, classes: int) -> dict[str, float]:
    x, y = source.features("validation", [readout])[readout], source.labels("validation")
    measured = accuracies(best_classes(probe.scores(x)), y, classes, "probe")
    return {name: float(cast("float | None", measured[f"probe_{name}"]) or 0.0) for name in ("top1", "half_width")}


def _change(clean: np.ndarray, pixels: np.ndarray) -> float:
    """The mean absolute difference, a batch at a time."""
    batches = range(0, len(clean), BATCH)
    total = sum(int(np.abs(clean[k : k + BATCH].astype(int) - pixels[k : k + BATCH]).sum()) for k in batches)
    return total / clean.size


def _corrupted(corruption: Corruption, severity: int, pixels: np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """Corrupted images; each image's draws depend on its number in the whole split."""
    parts: list[np.ndarray] = []
    for start in range(0, len(pixels), BATCH):
        batch = torch.from_numpy(pixels[start : start + BATCH].copy())
        parts.append(corruption(batch, severity, indices[start : start + BATCH]).numpy())
    return np.concatenate(parts)


def _in_memory(split: "Images | Stream") -> tuple[Images, list[int]]:
    """At most `IMAGES` images of a labelled split, and their numbers in it."""
    indices = np.arange(len(split))
    if len(split) > IMAGES:
        indices = np.sort(torch.randperm(len(split), generator=generator("corrupted images"))[:IMAGES].numpy())
    assert split.labels is not None
    if isinstance(split, Images):
        return Images(split.pixels[indices], split.labels[indices]), indices.tolist()
    pixels, shown, _ = split.decode(indices, split.decode_resized)
    return Images(pixels, split.labels[shown]), indices.tolist()
