"""Finds a data set by the user's name for it: its canonical name, its splits, and settings that suit it.

The kinds of data (`darl.data.sources.kind`) know the names; the functions here ask each kind in turn.
"""

from __future__ import annotations

from darl.data.augment import Augment
from darl.data.reading import NONE, Reading
from darl.data.sampled import sampled
from darl.data.sources.base import Source, Splits
from darl.data.sources.files import Files
from darl.data.sources.kind import DataKind, Defaults
from darl.errors import UserError
from darl.variants import require

__all__ = ["Defaults", "defaults", "locate", "open_splits", "read_as"]


def locate(data: str) -> str:
    """The canonical name of a data set, the same in every working directory; raises UserError for an unknown name.

    `digits`, `digits:FIRST-LAST` (some of its classes), `torchvision:NAME`, `hub:OWNER/NAME` and URIs are such names,
    and so are absolute paths, which need not exist. Relative paths become absolute, and addresses are normalised
    (`file:///x/` is `/x`). A short name that exists as a path means that path, except `digits`, which is always the
    embedded set (a folder of that name is `./digits`).
    """
    kinds = DataKind.kinds()
    for kind in kinds:  # digits first: asking torchvision imports it
        if (name := kind.named(data)) is not None:
            return name
    for kind in kinds:
        if (name := kind.guessed(data)) is not None:
            return name
    *first, last = [kind.form for kind in kinds]
    raise UserError(f"must be {', '.join(first)} or {last}, got {data!r}", field="data")


def kind_of(name: str) -> type[DataKind]:
    """The kind of a data set with this canonical name."""
    return next(kind for kind in DataKind.kinds() if kind.named(name) is not None)


def open_splits(name: str) -> Splits:
    """The splits of the data set with this canonical name; raises UserError where there are none."""
    return kind_of(name).open(name)


def read_as(name: str, reading: Reading) -> str:
    """The canonical name of the data of a canonical name when its files are read as the user says.

    What `reading` does not say stays. Raises UserError for data that is not in files.
    """
    if reading == Reading():
        return name
    address, already = Reading.of(name)
    for field, value in (("data_labels", reading.labels), ("data_splits", reading.splits)):
        require(value is None or kind_of(address) is Files, field, f"be left out: {address} has its own", value)
    reading = reading.normalized().over(already)
    _ = reading.folders if reading.splits not in (None, NONE) else None
    return reading.named(address)


def defaults(data: str) -> Defaults:
    """Settings that suit a data set: those of its kind, else by images spread over it (`sampled`).

    Raises UserError.
    """
    name = locate(data)
    kind = kind_of(name)
    return kind.defaults(name) or _by_images(name, kind.open(name).train)


def _by_images(name: str, source: Source) -> Defaults:
    look = sampled(name, source)
    image_size, patch_size = (32, 4) if look.small else (224, 16)
    return Defaults(image_size, look.channels, patch_size, Augment(crop_min=0.2, flip=True))
