"""From what the user calls a data set to its one name, its splits, and the settings that suit it.

Which names there are is said by the kinds of data (`darl.data.sources.kind`): here they are asked in turn.
"""

from __future__ import annotations

from darl.data.augment import Augment
from darl.data.sources.base import Source, Splits
from darl.data.sources.kind import DataKind, Defaults
from darl.errors import UserError

__all__ = ["Defaults", "defaults", "locate", "no_readable_image", "open_splits"]

LOOKED_AT = 16  # images that tell a set's size and colours

SMALL = 40  # pixels up to which images are taken for CIFAR's kind


def locate(data: str) -> str:
    """The one name of a data set, from every working directory; raises UserError for a name that stands for nothing.

    `digits`, `digits:FIRST-LAST` (some of its classes), `torchvision:NAME`, `hub:OWNER/NAME` and URIs are such names,
    and so are absolute paths, which need not exist. Relative paths become absolute, and every spelling of an address
    one (`file:///x/` is `/x`). What exists as a local path is one, whatever else it could mean; `digits` is always the
    embedded set (a folder is `./digits`).
    """
    kinds = DataKind.kinds()
    for kind in kinds:  # digits first: to ask torchvision is to import it
        if (name := kind.named(data)) is not None:
            return name
    for kind in kinds:
        if (name := kind.guessed(data)) is not None:
            return name
    *first, last = [kind.form for kind in kinds]
    raise UserError(f"must be {', '.join(first)} or {last}, got {data!r}", field="data")


def kind_of(name: str) -> type[DataKind]:
    """The kind of a located data set."""
    return next(kind for kind in DataKind.kinds() if kind.named(name) is not None)


def open_splits(name: str) -> Splits:
    """The splits of a located data set; raises UserError where there are none."""
    return kind_of(name).open(name)


def no_readable_image(data: str, first: str) -> UserError:
    """The error for data of which nothing can be decoded; `first` is the first image's name and what is wrong."""
    return UserError(f"must hold an image that can be read, got {data!r} where none can (first: {first})", field="data")


def defaults(data: str) -> Defaults:
    """What the kind of data says, else settings by its first images: their size, and whether all are grey.

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
    from darl.data.decode import open_image, quiet

    sizes, modes, reason = [], [], "it is empty"
    with quiet():
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
