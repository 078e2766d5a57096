"""Finds a data set by the user's name for it: its canonical name, its splits, and settings that suit it.

The kinds of data (`darl.data.sources.kind`) know the names; the functions here ask each kind in turn.
"""

from __future__ import annotations

from darl.data.augment import Augment
from darl.data.sources.base import Source, Splits
from darl.data.sources.kind import DataKind, Defaults
from darl.errors import UserError

__all__ = ["Defaults", "defaults", "locate", "no_readable_image", "open_splits"]

LOOKED_AT = 16  # number of first images from which a data set's image size and channels are guessed

SMALL = 40  # pixels of the shorter side up to which images get CIFAR's settings


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


def no_readable_image(data: str, first: str) -> UserError:
    """The error for data without a decodable image; `first` is the first image's name and what is wrong with it."""
    return UserError(f"must hold an image that can be read, got {data!r} where none can (first: {first})", field="data")


def defaults(data: str) -> Defaults:
    """Settings that suit a data set: those of its kind, else by the first images' size and whether all are grey.

    Raises UserError.
    """
    name = locate(data)
    kind = kind_of(name)
    return kind.defaults(name) or _by_images(name, kind.open(name).train)


def _by_images(name: str, source: Source) -> Defaults:
    from darl.data.decode import GREY

    sizes, modes = _first_images(name, source)
    channels = 1 if set(modes) <= set(GREY) else 3
    image_size, patch_size = (32, 4) if min(sizes[0]) <= SMALL else (224, 16)
    return Defaults(image_size, channels, patch_size, Augment(crop_min=0.2, flip=True))


def _first_images(name: str, source: Source) -> tuple[list[tuple[int, int]], list[str]]:
    from darl.data.decode import open_image, silence_pil

    sizes, modes, reason = [], [], "it is empty"
    with silence_pil():
        for index in range(len(source)):
            try:
                image = open_image(source.read(index))
            except UserError:
                raise
            except Exception as error:  # whatever a broken file makes PIL raise
                reason = reason if index else f"{source.name(index)}: {error}"
                continue
            sizes.append(image.size)
            modes.append(image.mode)
            if len(modes) == LOOKED_AT:
                break
    if not modes:
        raise no_readable_image(name, reason)
    return sizes, modes
