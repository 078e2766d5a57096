"""Sources: a source is one split as it is stored, with random access to encoded images and labels.

Sources (image files, Parquet, tar shards, other libraries) differ only in how they find and read images. Held-out
images and label numbers are decided here, in the same way for all sources.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from darl.data.content import hash_parts
from darl.data.found import Decision, listed
from darl.errors import UserError
from darl.randomness import generator
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Int64

    from darl.data.decode import Encoded

__all__ = [
    "WINDOW",
    "Groups",
    "RawLabels",
    "Source",
    "Splits",
    "Subset",
    "hold_out",
    "number_labels",
    "require_known_classes",
]

RawLabels = Sequence[int | str | None] | None
"""Labels as they are stored; None for a split that has none."""

WINDOW = 128 * 2**20
"""Bytes of groups (as stored) among which the rows of a stream are shuffled; twice that is kept in memory."""

HELD_OUT = 5  # one image in five is held out when the data has no validation split


@dataclass(frozen=True)
class Groups:
    """Runs of neighbouring rows that are read together: where each starts, and how many bytes it takes."""

    starts: Int64[np.ndarray, " groups"]
    sizes: Int64[np.ndarray, " groups"]

    def of(self, indices: Int64[np.ndarray, " rows"]) -> Groups:
        """The groups of a sorted selection of rows, in the numbering of the selection."""
        starts = np.searchsorted(indices, self.starts)
        kept = np.diff(np.append(starts, len(indices))) > 0
        return Groups(starts[kept], self.sizes[kept])


class Source(ABC):
    """Encoded images by index. It can be pickled: loader workers read from copies of it."""

    labels: RawLabels = None
    groups: Groups | None = None
    """None where all orders of reading are equally fast."""
    remote: bool = False
    """Whether a read costs a round trip, so that many at a time are faster."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Encoded:
        """The encoded image; may raise anything where it is broken."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The image's name in messages: its path, or `file#row`."""

    def fingerprint(self) -> str:
        """A hash of the split's length and labels, independent of its address; decodes no image.

        Sources that know their images' names and sizes override it to include them.
        """
        return hash_parts([len(self), *(self.labels or ())])


@dataclass(frozen=True)
class Splits:
    """The splits of a data set; `classes` where the data names its classes; `found`: how that was decided."""

    train: Source
    validation: Source | None = None
    test: Source | None = None
    classes: tuple[str, ...] | None = None
    found: tuple[Decision, ...] = ()


class Subset(Source):
    """Some rows of another source, in its order."""

    def __init__(self, source: Source, indices: Int64[np.ndarray, " rows"]) -> None:
        self.source = source
        self.indices = np.sort(indices)
        self.labels = None if source.labels is None else [source.labels[i] for i in self.indices]
        self.groups = None if source.groups is None else source.groups.of(self.indices)
        self.remote = source.remote

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Encoded:
        """The encoded image."""
        return self.source.read(int(self.indices[index]))

    def name(self, index: int) -> str:
        """The image's name in the whole source."""
        return self.source.name(int(self.indices[index]))


def hold_out(data: str, source: Source) -> tuple[Source, Source]:
    """Training and validation split for data without the latter: a fifth, stratified by class, is held out.

    The choice depends on the data alone, so that all experiments on it validate on the same images.
    """
    require(len(source) > 1, "data", f"hold at least two images, one to validate on, and holds {len(source)}", data)
    order = torch.randperm(len(source), generator=generator("held-out images")).numpy()
    labels = checked_labels(data, "train", source.labels)
    if labels is not None:
        _, classes = np.unique(labels, return_inverse=True)
        order = order[np.argsort(classes[order], kind="stable")]
    held = np.zeros(len(source), dtype=bool)
    held[order[min(HELD_OUT // 2, len(source) - 1) :: HELD_OUT]] = True
    return Subset(source, np.flatnonzero(~held)), Subset(source, np.flatnonzero(held))


def checked_labels(data: str, split: str, raw: RawLabels) -> np.ndarray | None:
    """Labels as an array of int64 or str; None where there are none or all are hidden (negative); raises UserError."""
    if raw is None:
        return None
    missing = sum(label is None for label in raw)
    if missing:
        raise UserError(
            f"must have a label for every image or for none, got {data!r} with {missing} of {len(raw)} labels "
            f"null in {split}: fill them in or drop the column",
            field="data",
        )
    labels = np.asarray(raw)
    if labels.dtype.kind == "U":
        return labels
    labels = labels.astype(np.int64)
    hidden = int((labels < 0).sum())
    if hidden == len(labels):  # Hugging Face marks withheld labels by -1
        return None
    require(hidden == 0, "data", f"have labels from 0 up ({hidden} in {split} are negative)", data)
    return labels


def number_labels(
    data: str, raw: Mapping[str, RawLabels], classes: tuple[str, ...] | None
) -> tuple[dict[str, Int64[np.ndarray, " images"] | None], tuple[str, ...] | None]:
    """Labels as class numbers, by split, and the classes' names.

    Integer labels of data that names its classes are kept; all others are numbered in the sorted order of all splits.
    """
    splits = {split: checked_labels(data, split, labels) for split, labels in raw.items()}
    given = [labels for labels in splits.values() if labels is not None]
    if not given:
        return splits, None
    kinds = {labels.dtype.kind for labels in given}
    require(len(kinds) == 1, "data", "have labels of one type in all splits", data)
    if classes is not None and kinds == {"i"}:
        top = max(int(labels.max()) for labels in given)
        require(top < len(classes), "data", f"have labels below its {len(classes)} named classes (one is {top})", data)
        return splits, classes
    values = np.unique(np.concatenate(given))
    numbered = {
        split: None if labels is None else np.searchsorted(values, labels).astype(np.int64)
        for split, labels in splits.items()
    }
    return numbered, tuple(str(value) for value in values)


def require_known_classes(data: str, train: RawLabels, others: Mapping[str, RawLabels]) -> None:
    """Raise UserError where a split has named classes that train lacks: mostly they are called otherwise there.

    others: the labels of the data's other splits, by the splits' names.
    """
    known = {label for label in train or () if isinstance(label, str)}
    for split, labels in others.items():
        own = {label for label in labels or () if isinstance(label, str)}
        if known and own - known:
            raise UserError(
                f"must have the same classes in all splits, got {data!r} with {_named(own - known)} only in {split}"
                + (f" and {_named(known - own)} only in train" if known - own else ""),
                field="data",
            )


def _named(classes: set[str]) -> str:
    names = sorted(classes)
    return (
        listed(names) if len(names) <= MOST_CLASSES else f"{', '.join(names[:MOST_CLASSES])}, … ({len(names):,} in all)"
    )


MOST_CLASSES = 12  # in an error
