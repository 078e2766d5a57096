"""From what the user calls a data set to its sources, and to the settings that suit it."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from darl.data.augment import Augment
from darl.data.decode import GREY, open_image, quiet
from darl.data.sources.base import Source, Splits
from darl.data.sources.digits import digit_classes, open_digits
from darl.data.sources.folder import IMAGES, open_folder
from darl.data.sources.hub import open_hub
from darl.data.sources.listing import listing
from darl.data.sources.parquet import open_parquet
from darl.data.sources.shards import open_shards
from darl.data.sources.torchvision_sets import open_torchvision, torchvision_class
from darl.errors import UserError
from darl.storage.address import SCHEMES
from darl.variants import require

__all__ = ["Defaults", "defaults", "locate", "no_readable_image", "open_splits"]

LOOKED_AT = 16  # images that tell a set's size and colours

SMALL = 40  # pixels up to which images are taken for CIFAR's kind

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")

REMEDY = (
    "be digits, a folder of images, Parquet files or tar shards (a path, or a URI such as s3:// or gs://), "
    "a torchvision data set (torchvision:NAME) or one on the Hub (hub:OWNER/NAME)"
)


@dataclass(frozen=True)
class Defaults:
    """Settings that suit a data set when the user names none."""

    image_size: int
    channels: int
    patch_size: int
    augment: Augment


def locate(data: str) -> str:
    """The one name of a data set, from every working directory; raises UserError for a name that stands for nothing.

    `digits`, `digits:FIRST-LAST` (some of its classes), `torchvision:NAME`, `hub:OWNER/NAME` and URIs are such names,
    and so are absolute paths: these need not exist, so that a record can be read where its data is not. Relative paths
    become absolute. What exists as a local path is one, whatever else it could mean; `digits` is always the embedded
    set (a folder is `./digits`).
    """
    kind, _, name = data.partition(":")
    if digit_classes(data) is not None or data.startswith(SCHEMES) or (kind == "hub" and name):
        return data
    if kind == "torchvision":
        require(torchvision_class(name) is not None, "--data", "name a data set of torchvision.datasets", data)
        return data
    path = os.path.abspath(os.path.expanduser(data))  # noqa: PTH100, PTH111 - pathlib would follow links
    if Path(data).expanduser().is_absolute() or (data and Path(path).exists()) or _matches(path):
        return path
    if data.isidentifier() and torchvision_class(data) is not None:
        return f"torchvision:{data}"
    require(HUB_NAME.fullmatch(data) is not None, "--data", REMEDY, data)
    return f"hub:{data}"


def _matches(path: str) -> bool:
    # pathlib's glob takes no absolute patterns
    return glob.has_magic(path) and next(glob.iglob(path, recursive=True), None) is not None  # noqa: PTH207


def open_splits(data: str) -> Splits:
    """The sources of a located data set; raises UserError where there are none."""
    kind, _, name = data.partition(":")
    classes = digit_classes(data)
    if classes is not None:
        return open_digits(classes)
    if kind == "torchvision":
        return open_torchvision(name)
    if kind == "hub":
        return open_hub(name)
    files = listing(data)
    found = {
        opener: files.only(endings)
        for endings, opener in (((".parquet",), open_parquet), ((".tar",), open_shards), (IMAGES, open_folder))
    }
    # a folder of images may hold a table about them, and a repository of Parquet a picture: the data is what is larger
    opener, chosen = max(found.items(), key=lambda item: (sum(item[1].sizes), len(item[1].paths)))
    require(
        len(chosen.paths) > 0, "--data", f"hold images ({', '.join(IMAGES)}), *.parquet or *.tar and holds none", data
    )
    return opener(chosen)


def no_readable_image(data: str, first: str) -> UserError:
    """The error for data of which nothing can be decoded; `first` is the first image's name and what is wrong."""
    return UserError(f"--data must hold an image that can be read, got {data!r} where none can (first: {first})")


def defaults(data: str) -> Defaults:
    """Settings by the first images: their size, and whether all are grey. Raises UserError."""
    data = locate(data)
    if digit_classes(data) is not None:
        return Defaults(8, 1, 2, Augment())
    sizes, modes = _first_images(data, open_splits(data).train)
    channels = 1 if set(modes) <= set(GREY) else 3
    image_size, patch_size = (32, 4) if min(sizes[0]) <= SMALL else (224, 16)
    return Defaults(image_size, channels, patch_size, Augment(crop_min=0.2, flip=True))


def _first_images(data: str, source: Source) -> tuple[list[tuple[int, int]], list[str]]:
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
        raise no_readable_image(data, reason)
    return sizes, modes
