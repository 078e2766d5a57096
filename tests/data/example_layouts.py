"""Folders of images as people have them; each image is a noisy square whose place tells the class."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from darl.cli.data_flags import say_found
from darl.data import defaults, locate
from darl.data.dataset import OpenedData, open_data
from darl.data.locate import open_splits, read_as
from darl.data.reading import Reading

RANDOM = np.random.default_rng(0)


def picture(number: int, size: tuple[int, int] = (24, 24), mode: str = "RGB") -> Image.Image:
    pixels = RANDOM.integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    x, y = 4 + 10 * (number % 2), 4 + 10 * (number // 2 % 2)
    pixels[y : y + 8, x : x + 8] = 200
    return Image.fromarray(pixels).convert(mode)


def fill(
    folder: Path, classes: Iterable[str], each: int = 3, size: tuple[int, int] = (24, 24), mode: str = "RGB"
) -> Path:
    """So many images in a folder for each class; `.` is the folder itself."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            picture(number, size, mode).save(folder / name / f"{index}.png")
    return folder


def opened(folder: Path, **reading: str) -> OpenedData:
    return open_data(read_as(locate(str(folder)), Reading(**reading)))


def labels(folder: Path, **reading: str) -> dict[str, dict[str, str] | list[str]]:
    """By split the class of each image by its path, or the paths of a split without labels; nothing is held out."""
    splits = open_splits(read_as(locate(str(folder)), Reading(**reading)))
    result: dict[str, dict[str, str] | list[str]] = {}
    for split, source in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        if source is not None:
            names = [source.name(index).removeprefix(f"{folder}/") for index in range(len(source))]
            own = source.labels
            result[split] = names if own is None else dict(zip(names, map(str, own), strict=True))
    return result


def said(folder: Path, **reading: str) -> str:
    """The line that commands begin with."""
    name = read_as(locate(str(folder)), Reading(**reading))
    usual = defaults(name)
    own = open_data(name).looked_at(name, image_size=usual.image_size, channels=usual.channels)
    return say_found(name, own.content, own.found)


def by_class(folder: Path, **reading: str) -> dict[str, dict[str, int] | int]:
    """By split the number of images of each class, or of all where there are no labels."""
    return {
        split: len(own) if isinstance(own, list) else dict(Counter(own.values()))
        for split, own in labels(folder, **reading).items()
    }


def _grid(splits: str) -> list[str]:
    return [f"{split}/{label}/{i}.png" for split in splits.split() for label in "ab" for i in range(3)]


Content = tuple[int, int, int | None, str, int | None]
"""Images of train and validation, classes, fingerprint, test images."""

EARLIER: dict[str, tuple[list[str], Content]] = {
    "classes": (
        ["cat/0.png", "cat/1.png", "cat/deep/2.png", "dog/0.png", "dog/1.png"],
        (4, 1, 2, "2930797d5640de90", None),
    ),
    "splits": (_grid("train val test"), (6, 6, 2, "c2854b74b18272cc", None)),
    "train test": (_grid("train test"), (5, 1, 2, "c18abd74434ac1a1", 6)),
    "others beside": (
        ["train/a/0.png", "train/b/deep/1.png", "test/a/2.png", "val/b/3.png", "extra/4.png"],
        (2, 1, 2, "c57fbbe965abcf7f", None),
    ),
    "flat": (["0.png", "1.png", "2.png"], (2, 1, None, "efc7fc3ee80c3a83", None)),
    "one folder": (["only/0.png", "only/1.png"], (1, 1, None, "21b59e98d51c31d7", None)),
    "mixed": (["a/0.png", "1.png"], (1, 1, None, "fb3fc199bd1334fb", None)),
    "flat splits": (["train/0.png", "train/1.png", "val/2.png"], (2, 1, None, "85575ba8d30d8eed", None)),
    "lone train": (_grid("train"), (5, 1, 2, "eb6a1e885c5fdc38", None)),
    "class train": (
        [f"{label}/{i}.png" for label in ("car", "train") for i in range(3)],
        (5, 1, 2, "3a8b1262b3d54e12", None),
    ),
    "suffixes": (_grid("train2017 val2017"), (6, 6, 2, "14c8b4dc100a5715", None)),
    "latin": (["ä/0.png", "ä/1.png", "ö/0.png"], (2, 1, 2, "16a0a691b1565b09", None)),
}
"""Layouts that were understood from the beginning, and what trials on them have in their records.

File number i has i + 1 bytes.
"""
