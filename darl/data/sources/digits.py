"""scikit-learn's handwritten digits."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from darl.data.augment import Augment
from darl.data.sources.base import Source, Splits
from darl.data.sources.kind import DataKind, Defaults
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64
    from PIL import Image

__all__ = ["Digits", "EmbeddedDigits", "read_digits"]


class Digits(Source):
    """scikit-learn's 1,797 handwritten digits, 8 x 8 pixels, levels 0 to 16; of the given classes."""

    def __init__(self, classes: range = range(10)) -> None:
        images, labels = read_digits()
        self._index = np.flatnonzero(np.isin(labels, classes))
        self._pixels = np.rint(images[self._index] * (255 / 16)).astype(np.uint8)
        self.labels = [int(label) for label in labels[self._index]]

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, index: int) -> Image.Image:
        """The digit, mode L."""
        from PIL import Image

        return Image.fromarray(self._pixels[index])

    def name(self, index: int) -> str:
        """`digits#index`."""
        return f"digits#{self._index[index]}"


def read_digits() -> tuple[Float64[np.ndarray, "images 8 8"], Int64[np.ndarray, " images"]]:
    """The images and labels of `sklearn.datasets.load_digits`, from scikit-learn's file, without importing it.

    The import takes two seconds (pandas, scipy.stats), as long as the rest of a command's start. The file's place and
    layout are not part of scikit-learn's interface: a release that moves it breaks this function, and
    `tests/data/test_sources.py`, which compares the two, says so.
    """
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",")  # a row per image: 64 levels and the label
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


class EmbeddedDigits(DataKind):
    """`digits`, or some of its classes: `digits:FIRST-LAST`. A folder of that name is `./digits`."""

    kind: ClassVar[str] = "digits"
    order: ClassVar[int] = 0
    form: ClassVar[str] = "digits"

    @classmethod
    def named(cls, text: str) -> str | None:
        """`digits` and `digits:FIRST-LAST`, unchanged; raises UserError for classes that do not exist."""
        return None if _classes(text) is None else text

    @classmethod
    def open(cls, name: str) -> Splits:
        """The digits of the named classes, not split."""
        return Splits(Digits(_classes(name) or range(10)))

    @classmethod
    def defaults(cls, name: str) -> Defaults | None:
        """8 pixels, 1 channel, patch size 2, no augmentation."""
        return Defaults(8, 1, 2, Augment())


def _classes(text: str) -> range | None:
    """The classes of `digits` or `digits:FIRST-LAST`; None for another text. Raises UserError."""
    match = re.fullmatch(r"digits(?::(.*))?", text)
    if match is None or match[1] is None:
        return match and range(10)
    ends = re.fullmatch(r"([0-9])-([0-9])", match[1])
    remedy = "be digits or some of its classes 0 to 9, as digits:0-4"
    require(ends is not None and ends[1] < ends[2], "data", remedy, text)
    assert ends is not None
    return range(int(ends[1]), int(ends[2]) + 1)
