"""The family of data kinds: which names stand for data, and how the data of a name is opened.

A kind is one class in one module of this package (or anywhere, once it is defined): it says which texts it takes, what
the one canonical name of such a text is, and how the splits of a canonical name are opened. `darl.data.locate` asks all
of them, so a new kind is found by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from darl.data.augment import Augment
from darl.data.sources.base import Splits
from darl.variants import members

__all__ = ["DataKind", "Defaults"]


@dataclass(frozen=True)
class Defaults:
    """Settings that suit a data set when the user names none."""

    image_size: int
    channels: int
    patch_size: int
    augment: Augment


class DataKind(ABC):
    """One kind of data. Its classes are used as they are, never made into objects."""

    package: ClassVar[str] = "darl.data.sources"
    kind: ClassVar[str]
    """Also what its canonical names begin with, before a colon."""
    order: ClassVar[int] = 9
    """In which order kinds are asked, and named to the user."""
    form: ClassVar[str]
    """What the user is told that data may be: `a torchvision data set (torchvision:NAME)`."""

    @classmethod
    def kinds(cls) -> list[type[DataKind]]:
        """Every kind that is defined so far, in the order in which they are asked."""
        return sorted(members(cls), key=lambda member: (member.order, member.kind))

    @classmethod
    def named(cls, text: str) -> str | None:
        """The canonical name where the text's form alone says that it is of this kind; a canonical name stays as it is.

        None for a text of another kind; raises UserError for one of this kind that stands for nothing.
        """
        kind, _, rest = text.partition(":")
        return text if kind == cls.kind and rest else None

    @classmethod
    def guessed(cls, text: str) -> str | None:
        """The canonical name of a short form, asked where no kind's `named` takes the text; None where it is none."""
        return None

    @classmethod
    @abstractmethod
    def open(cls, name: str) -> Splits:
        """The splits of the data of a canonical name; raises UserError."""

    @classmethod
    def defaults(cls, name: str) -> Defaults | None:
        """Settings that suit the data and need no look at it; None where its first images have to be looked at."""
        return None
