"""The content of a data set: the number of images per split, of classes, and a fingerprint of names and sizes.

The content is part of a run's record and of its id; the address is not. So the same data in another folder or bucket
gives the same trials, and data that has changed under one address is noticed. Taking the content decodes no image.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from darl.errors import UserError
from darl.variants import Record

__all__ = ["DataContent", "hash_parts", "require_unchanged"]


@dataclass(frozen=True, kw_only=True)
class DataContent:
    """What a data set holds. Data sets with equal contents are taken to be the same data."""

    train: int
    """Number of training images, broken ones included."""
    validation: int
    """Number of validation images; where the data has no validation split, of the held-out images."""
    classes: int | None
    """Number of classes; None without labels."""
    fingerprint: str
    """Hash of the images' names, sizes and labels and of the classes' names: sixteen hexadecimal digits."""
    test: int | None = None
    """Number of test images; None where the data has a validation split, which then decides, or no test split."""

    def __str__(self) -> str:
        classes = "no labels" if self.classes is None else f"{self.classes:,} classes"
        return f"{self.images}, {classes}, fingerprint {self.fingerprint}"

    @property
    def images(self) -> str:
        """`1,000 + 200 images`, and where there are any, `and 100 test images`."""
        test = "" if self.test is None else f" and {self.test:,} test images"
        return f"{self.train:,} + {self.validation:,} images{test}"


def hash_parts(parts: Iterable[object]) -> str:
    """A hash of the parts' texts in their order: sixteen hexadecimal digits of BLAKE2b."""
    text = "\n".join(map(str, parts))
    return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=8).hexdigest()


def require_unchanged(records: Iterable[Record], contents: Mapping[str, DataContent]) -> None:
    """Raise UserError where the data at an address has changed since earlier experiments were trained on it.

    records: those of the earlier experiments (`Experiment.to_record`); records of older versions, which hold no
    content, are passed over. contents: the data's content now, by address.
    """
    for record in records:
        address, content = str(record.get("data")), record.get("content")
        if content is None or address not in contents:
            continue
        before, now = DataContent(**content), contents[address]
        if before != now:
            raise UserError(
                f"must be what earlier trials of this folder were trained on, got {address!r} with "
                f"{_change(before, now)}: give another name, or put the earlier data back",
                field="data",
            )


def _change(before: DataContent, now: DataContent) -> str:
    """The change in words: `1,000 + 200 images before, 1,001 + 200 now`."""
    if before.images != now.images:
        return f"{before.images} before, {now.images.replace(' images', '', 1)} now"
    if before.classes != now.classes:
        return f"{before.classes or 'no'} classes before, {now.classes or 'none'} now"
    return "the same numbers of images and classes as before, but other names, sizes or labels"
