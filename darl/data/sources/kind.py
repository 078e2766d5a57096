"""The interface of data kinds: which names a kind accepts, and how its data is opened.

A kind is one class in one module of this package (or anywhere, once it is defined): it turns the texts that it accepts
into canonical names, and opens the splits of a canonical name. `darl.data.locate` asks all kinds, so a new kind needs
no registration.
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
    """One kind of data. Kinds are classes with class methods only; they have no instances."""

    package: ClassVar[str] = "darl.data.sources"
    kind: ClassVar[str]
    """Also the prefix of its canonical names, before a colon."""
    order: ClassVar[int] = 9
    """Position in which the kind is asked, and listed in errors."""
    form: ClassVar[str]
    """Its names in an error's words: `a torchvision data set (torchvision:NAME)`."""

    @classmethod
    def kinds(cls) -> list[type[DataKind]]:
        """Every kind that is defined so far, in the order in which they are asked."""
        return sorted(members(cls), key=lambda member: (member.order, member.kind))

    @classmethod
    def named(cls, text: str) -> str | None:
        """The canonical name, where the form of the text shows that it is of this kind; canonical names are unchanged.

        None for a text of another kind; raises UserError for a text of this kind that names no data.
        """
        kind, _, rest = text.partition(":")
        return text if kind == cls.kind and rest else None

    @classmethod
    def guessed(cls, text: str) -> str | None:
        """The canonical name of a short form, else None. Called only where `named` is None for all kinds."""
        return None

    @classmethod
    @abstractmethod
    def open(cls, name: str) -> Splits:
        """The splits of the data of a canonical name; raises UserError."""

    @classmethod
    def defaults(cls, name: str) -> Defaults | None:
        """Settings that are known without opening the data; None where they depend on its first images."""
        return None
