"""A look at images of a data set: their sizes, and how many are grey.

The images are spread over the whole set. The first ones are often of one class, and classes differ.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from darl.data.found import Decision
from darl.data.sources.base import Source
from darl.data.splits import REMOTE_THREADS
from darl.errors import UserError, one_line

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Sampled", "no_readable_image", "sampled"]

IMAGES = 256
"""Number of images that are looked at: of a hundredth that is not grey, 92 samples in 100 show it."""

GROUPS = 16
"""Number of groups of rows among which they are (row groups of Parquet), since each is read whole."""

SMALL = 40  # pixels of the shorter side up to which images get CIFAR's settings


@dataclass(frozen=True)
class Sampled:
    """What was seen of some images of a data set."""

    images: int
    grey: int
    """Number of those that are grey."""
    whole: bool
    """Whether they are all images."""
    small: bool
    """Whether half of them have a shorter side of 40 pixels or less."""
    smallest: tuple[int, int]
    """Width and height of the image with the fewest pixels."""
    largest: tuple[int, int]

    @property
    def channels(self) -> int:
        """1 where all are grey, else 3."""
        return 1 if self.grey == self.images else 3

    def decision(self, image_size: int, channels: int) -> Decision:
        """How images of such kinds are read at this size and in these channels."""
        return Decision(f"{self._of_channels(channels)}, {self._of_size(image_size)}", field="channels and image_size")

    def _of_channels(self, channels: int) -> str:
        text = f"{channels} channel{'s' if channels > 1 else ''}"
        of = f"of {self.images:,}{'' if self.whole else ' sampled'} images"
        if self.channels == channels and self.grey in (0, self.images):
            return text
        grey = f"{self.grey:,} {of} are grey" if self.grey < self.images else f"all {self.images:,} are grey"
        return f"{text} ({grey})"

    def _of_size(self, image_size: int) -> str:
        sizes = dict.fromkeys((self.smallest, self.largest))
        text = f"{' to '.join(f'{width} × {height}' for width, height in sizes)} pixels"
        resized = list(sizes) != [(image_size, image_size)]
        return f"{text} (read at {image_size} × {image_size})" if resized else text


def sampled(data: str, source: Source) -> Sampled:
    """Looks at up to 256 images, whose pixels are not decoded. Raises UserError where no image can be read."""
    from darl.data.decode import GREY, silence_pil

    chosen = _spread(source)
    with silence_pil(), ThreadPoolExecutor(REMOTE_THREADS if source.remote else 1) as pool:
        looks = list(pool.map(lambda index: _look(source, index), chosen))
        if not any(isinstance(look, tuple) for look in looks):  # the others, up to the first that can be read
            others = (_look(source, index) for index in range(len(source)))
            looks += [next((look for look in others if isinstance(look, tuple)), "it is empty")]
    seen = [look for look in looks if isinstance(look, tuple)]
    if not seen:
        raise no_readable_image(data, str(looks[0]))
    sizes = sorted((size for size, _ in seen), key=lambda size: (size[0] * size[1], size))
    return Sampled(
        images=len(seen),
        grey=sum(mode in GREY for _, mode in seen),
        whole=len(seen) == len(source),
        small=median(min(size) for size in sizes) <= SMALL,
        smallest=sizes[0],
        largest=sizes[-1],
    )


def _spread(source: Source) -> list[int]:
    """Indices of images: from each of 256 equal parts of the set one, or from each of 16 of its groups as many."""
    if source.groups is None or len(source.groups.starts) <= GROUPS:
        return _evenly(0, len(source), IMAGES)
    ends = np.append(source.groups.starts[1:], len(source))
    spans = [(int(source.groups.starts[group]), int(ends[group])) for group in _evenly(0, len(ends), GROUPS)]
    return [index for start, end in spans for index in _evenly(start, end, IMAGES // GROUPS)]


def _evenly(start: int, end: int, count: int) -> list[int]:
    """One number from each of `count` equal parts of a range, at a fixed random place in it; all of a short range."""
    size = end - start
    if size <= count:
        return list(range(start, end))
    within = np.random.default_rng(0).random(count)  # at equal distances, every second image might be a mask
    return [start + int((number + within[number]) * size / count) for number in range(count)]


def _look(source: Source, index: int) -> tuple[tuple[int, int], str] | str:
    """An image's size and PIL's mode, or what is wrong with it."""
    from darl.data.decode import open_image

    try:
        image: Image.Image = open_image(source.read(index))
    except UserError:
        raise
    except Exception as error:  # whatever a broken file makes PIL raise
        return f"{source.name(index)}: {one_line(error)}"
    return image.size, image.mode


def no_readable_image(data: str, first: str) -> UserError:
    """The error for data without a decodable image; `first` is the first image's name and what is wrong with it."""
    return UserError(f"must hold an image that can be read, got {data!r} where none can (first: {first})", field="data")
