"""Patch orders: in which order an image's patches are predicted (DARL, arXiv 2403.05196).

An order is a permutation of the grid: entry t is the raster index (row · columns + column) of the t-th patch.
The paper compares raster, nested raster, round-robin and random orders, and finds raster near-optimal; column, snake,
Hilbert and spiral help to separate the effect of locality from that of reading direction. Every order takes every
grid, square or not, down to one row or one column. These are orders for all images; `darl.model.random_orders` has
those of each image's own.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.aspects import Aspect, changes
from darl.randomness import generator
from darl.variants import Variant, require

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["Column", "Hilbert", "NestedRaster", "Order", "Random", "Raster", "RoundRobin", "Snake", "Spiral", "inverse"]


def inverse(order: "Int[Tensor, ' patches']") -> "Int[Tensor, ' patches']":
    """For each patch, in raster order, its index in the order: `x[order][inverse(order)]` is `x`."""
    return torch.argsort(order)


@dataclass(frozen=True, kw_only=True)
class Order(Variant):
    """A patch order."""

    family: ClassVar[str] = "order"

    @abstractmethod
    def permutation(self, rows: int, columns: int) -> "Int[Tensor, ' patches']":
        """Raster indices in the order of prediction: int64, on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Raster(Order):
    """Row by row, left to right: the order of reading."""

    kind: ClassVar[str] = "raster"

    def permutation(self, rows: int, columns: int) -> Tensor:
        """0, 1, 2, …"""
        return _grid(rows, columns).flatten()


@dataclass(frozen=True, kw_only=True)
class Column(Order):
    """Column by column, top to bottom."""

    kind: ClassVar[str] = "column"

    def permutation(self, rows: int, columns: int) -> Tensor:
        """0, columns, 2 · columns, …"""
        return _grid(rows, columns).T.flatten()


@dataclass(frozen=True, kw_only=True)
class Snake(Order):
    """Row by row, every second row from right to left (boustrophedon): each patch touches the one before."""

    kind: ClassVar[str] = "snake"

    def permutation(self, rows: int, columns: int) -> Tensor:
        """The first row rightwards, the second leftwards, …"""
        grid = _grid(rows, columns)
        grid[1::2] = grid[1::2].flip(1)
        return grid.flatten()


@dataclass(frozen=True, kw_only=True)
class Blockwise(Order):
    """Base of the orders that read the grid by square blocks.

    block: a block's side in patches, at least 1; the last blocks are smaller where it does not divide the grid.
    """

    block: int = changes(Aspect.INPUT, default=2)

    def __post_init__(self) -> None:
        require(self.block >= 1, "order.block", "be at least 1", self.block)

    def blocks(self, rows: int, columns: int) -> list[Tensor]:
        """The raster indices of each block, blocks in raster order and raster order inside."""
        bands = torch.split(_grid(rows, columns), self.block)
        return [block.flatten() for band in bands for block in torch.split(band, self.block, dim=1)]


@dataclass(frozen=True, kw_only=True)
class NestedRaster(Blockwise):
    """Block after block in raster order, and raster order inside each block."""

    kind: ClassVar[str] = "nested_raster"

    def permutation(self, rows: int, columns: int) -> Tensor:
        """The first block's patches, the second block's, …"""
        return torch.cat(self.blocks(rows, columns))


@dataclass(frozen=True, kw_only=True)
class RoundRobin(Blockwise):
    """One patch from each block in turn; a block with none left is skipped. So early patches cover the whole image."""

    kind: ClassVar[str] = "round_robin"

    def permutation(self, rows: int, columns: int) -> Tensor:
        """Every block's first patch, every block's second, …"""
        blocks = self.blocks(rows, columns)
        index_in_block = torch.cat([torch.arange(len(block)) for block in blocks])
        return torch.cat(blocks)[torch.argsort(index_in_block, stable=True)]


@dataclass(frozen=True, kw_only=True)
class Hilbert(Order):
    """The generalised Hilbert curve: each patch is near many of those just before it.

    It runs from the top left corner along the longer side to that side's other end. Where the longer side is odd and
    the shorter even, no path of neighbours joins these corners: one step is diagonal then (where the shorter is 2, the
    curve ends one patch inside instead). On every other grid each patch touches the one before.
    """

    kind: ClassVar[str] = "hilbert"

    def permutation(self, rows: int, columns: int) -> Tensor:
        """On grids of 2ⁿ × 2ⁿ, Hilbert's own curve."""
        grid = _grid(rows, columns)
        return _hilbert(grid if columns >= rows else grid.T)


@dataclass(frozen=True, kw_only=True)
class Spiral(Order):
    """From the outside inwards, clockwise from the top left corner."""

    kind: ClassVar[str] = "spiral"

    def permutation(self, rows: int, columns: int) -> Tensor:
        """The top row; then the remaining rows, rotated left by a quarter turn, in the same way."""
        grid, sides = _grid(rows, columns), list[Tensor]()
        while grid.numel():
            sides.append(grid[0])
            grid = grid[1:].rot90()
        return torch.cat(sides)


@dataclass(frozen=True, kw_only=True)
class Random(Order):
    """One fixed random order for all images, drawn from a generator seeded by `seed` (any integer)."""

    kind: ClassVar[str] = "random"
    seed: int = changes(Aspect.INPUT, default=0)

    def permutation(self, rows: int, columns: int) -> Tensor:
        """A function of the seed and the number of patches alone; the global generator is not used."""
        return torch.randperm(rows * columns, generator=generator("order", self.seed))


def _grid(rows: int, columns: int) -> Tensor:
    """The grid's raster indices, (rows, columns)."""
    return torch.arange(rows * columns).view(rows, columns)


def _hilbert(grid: Tensor) -> Tensor:
    """The entries of `grid` along the curve from its top left to its top right corner.

    After J. Červený's gilbert (https://github.com/jakubcerveny/gilbert). A wide grid is cut into a left and a right
    part. On any other the curve goes down the upper left quarter, along the lower half, and up the upper right quarter:
    the same curve in each part, transposed or flipped so that it enters at the part's top left. A part with an even
    side along the curve has a path of neighbours, so cuts are moved to even indices.
    """
    height, width = grid.shape
    if height == 1 or width == 1:
        return grid.flatten()
    if 2 * width > 3 * height:
        cut = _even(width // 2, width)
        return torch.cat([_hilbert(grid[:, :cut]), _hilbert(grid[:, cut:])])
    cut, middle = _even(height // 2, height), width // 2
    down = _hilbert(grid[:cut, :middle].T)
    up = _hilbert(grid[:cut, middle:].flip(0, 1).T)
    return torch.cat([down, _hilbert(grid[cut:]), up])


def _even(cut: int, side: int) -> int:
    """`cut`, or the even index after it if the side is long enough to have one."""
    return cut + cut % 2 if side > 2 else cut
