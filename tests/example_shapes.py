"""A user's family of variants, and a dataclass that holds one, in a module that postpones its annotations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from darl.aspects import Aspect, changes
from darl.variants import Variant

__all__ = ["Ball", "Box", "Shape", "Toy"]


@dataclass(frozen=True, kw_only=True)
class Shape(Variant):
    family: ClassVar[str] = "shape"


@dataclass(frozen=True, kw_only=True)
class Ball(Shape):
    kind: ClassVar[str] = "ball"
    radius: float = 1.0
    patches: int = 12
    hollow: bool = True
    colour: str = "red"


@dataclass(frozen=True, kw_only=True)
class Box(Shape):
    kind: ClassVar[str] = "box"
    colour: str = changes(Aspect.LOSS, default="blue")


@dataclass(frozen=True, kw_only=True)
class Toy:
    shape: Shape | None = changes(Aspect.INPUT, default_factory=Ball)
    price: float = field(default=2.0)
    age: int | None = changes(Aspect.CHANCE, default=None)
