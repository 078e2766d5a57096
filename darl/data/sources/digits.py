"""scikit-learn's handwritten digits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from PIL import Image

from darl.data.sources.base import Source, Splits
from darl.variants import require

__all__ = ["Digits", "digit_classes", "open_digits"]


class Digits(Source):
    """scikit-learn's 1,797 handwritten digits, 8 x 8, levels 0 to 16; of some classes where they are given."""

    def __init__(self, classes: range = range(10)) -> None:
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        self._index = np.flatnonzero(np.isin(digits.target, classes))
        self._pixels = np.rint(digits.images[self._index] * (255 / 16)).astype(np.uint8)
        self.labels = [int(label) for label in digits.target[self._index]]

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, index: int) -> Image.Image:
        """The digit, mode L."""
        return Image.fromarray(self._pixels[index])

    def name(self, index: int) -> str:
        """`digits#index`."""
        return f"digits#{self._index[index]}"


def digit_classes(data: str) -> range | None:
    """The classes of `digits` or `digits:FIRST-LAST`; None for another name. Raises UserError."""
    found = re.fullmatch(r"digits(?::(.*))?", data)
    if found is None or found[1] is None:
        return found and range(10)
    ends = re.fullmatch(r"([0-9])-([0-9])", found[1])
    remedy = "be digits or some of its classes 0 to 9, as digits:0-4"
    require(ends is not None and ends[1] < ends[2], "--data", remedy, data)
    assert ends is not None
    return range(int(ends[1]), int(ends[2]) + 1)


def open_digits(classes: range) -> Splits:
    """The digits of some classes, not split."""
    return Splits(Digits(classes), None)
