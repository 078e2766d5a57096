"""Position encodings: how a token carries its patch's position (DARL, section 4.2: 2D rotary matters most when causal).

Additive encodings are added to the patch embeddings. Rotary ones rotate each pair of query and key channels by an angle
proportional to the patch's coordinate, so that a score depends on relative coordinates only (Su et al. 2021). The
coordinates are the patch's own (row, column), whatever the order of prediction.

timm is imported inside the functions that use it, since configs import this module and are built without timm.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.patches import Grid
from darl.variants import Variant, require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Absent", "Encoding", "Learned", "LearnedTable", "Position", "Rotary1d", "Rotary2d", "Sincos2d"]


class Encoding(nn.Module):
    """A position encoding built for a model. This base class encodes nothing."""

    fixed: ClassVar[bool] = False
    """Whether `additive` gives the same vectors at every call, so that those of the model's own grid may be kept."""

    def additive(self, grid: Grid) -> "Float[Tensor, 'patches width'] | None":
        """Vectors to add to the patch embeddings, in raster order; None where the encoding is not additive."""
        return None

    def rotation(self, grid: Grid) -> "Float[Tensor, 'patches two_head_width'] | None":
        """Sines then cosines for every head channel, patches in raster order (timm's concatenated layout), on the CPU.

        Channels 2i and 2i + 1 share an angle. None where the encoding is not rotary.
        """
        return None

    def resize(self, grid: Grid) -> None:
        """Change the model's own grid: parameters that depend on it are resampled. By default there are none."""


@dataclass(frozen=True, kw_only=True)
class Position(Variant):
    """A position encoding."""

    family: ClassVar[str] = "position"

    def check(self, width: int, head_width: int) -> None:
        """Raise UserError where the encoding does not fit a model of this width. By default it fits every model."""

    @abstractmethod
    def build(self, grid: Grid, width: int, head_width: int) -> Encoding:
        """The encoding's module for a model of this width, which `check` has passed."""


@dataclass(frozen=True, kw_only=True)
class Absent(Position):
    """No position encoding: a causal model can still count the tokens before each token."""

    kind: ClassVar[str] = "absent"

    def build(self, grid: Grid, width: int, head_width: int) -> Encoding:
        return Encoding()


@dataclass(frozen=True, kw_only=True)
class Sincos2d(Position):
    """Fixed sines and cosines of row and column, added (MAE's; timm's `build_sincos2d_pos_embed`)."""

    kind: ClassVar[str] = "sincos2d"

    def check(self, width: int, head_width: int) -> None:
        require(width % 4 == 0, "model.width", "be a multiple of 4 for position sincos2d", width)

    def build(self, grid: Grid, width: int, head_width: int) -> Encoding:
        return _Sincos(width)


class _Sincos(Encoding):
    fixed: ClassVar[bool] = True

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def additive(self, grid: Grid) -> Tensor:
        from timm.layers import build_sincos2d_pos_embed

        return build_sincos2d_pos_embed(list(grid), dim=self.width)


@dataclass(frozen=True, kw_only=True)
class Learned(Position):
    """One learned vector per patch, added; resampled (bicubic) for another grid."""

    kind: ClassVar[str] = "learned"

    def build(self, grid: Grid, width: int, head_width: int) -> Encoding:
        return LearnedTable(grid, width)


class LearnedTable(Encoding):
    """One vector per patch of the grid."""

    def __init__(self, grid: Grid, width: int):
        super().__init__()
        self.grid = grid
        self.table = nn.Parameter(torch.empty(1, grid[0] * grid[1], width))

    def reset_parameters(self) -> None:
        """The initialisation of a ViT's position embedding."""
        nn.init.trunc_normal_(self.table, std=0.02)

    def additive(self, grid: Grid) -> Tensor:
        return self.table[0] if grid == self.grid else self._resampled(grid)[0]

    def resize(self, grid: Grid) -> None:
        table = self._resampled(grid).detach()
        self.table, self.grid = nn.Parameter(table, requires_grad=self.table.requires_grad), grid

    def _resampled(self, grid: Grid) -> Tensor:
        from timm.layers import resample_abs_pos_embed

        return resample_abs_pos_embed(self.table, list(grid), list(self.grid), num_prefix_tokens=0)


class _Rotary(Encoding):
    """timm's rotary encoding by (row, column), or by the raster index where `flat`."""

    def __init__(self, channels_per_axis: int, temperature: float, flat: bool):
        super().__init__()
        self.frequencies, self.temperature, self.flat = channels_per_axis // 2, temperature, flat

    def rotation(self, grid: Grid) -> Tensor:
        from timm.layers import build_rotary_pos_embed, freq_bands

        bands = freq_bands(self.frequencies, temperature=self.temperature, step=1)
        shape = [grid[0] * grid[1]] if self.flat else list(grid)
        return torch.cat(build_rotary_pos_embed(shape, bands=bands, in_pixels=False), dim=-1)


@dataclass(frozen=True, kw_only=True)
class Rotary1d(Position):
    """Rotary by the patch's raster index, as in language models."""

    kind: ClassVar[str] = "rope1d"
    temperature: float = changes(Aspect.MODEL, default=10_000.0)

    def __post_init__(self) -> None:
        require(self.temperature > 0, "position.temperature", "be positive", self.temperature)

    def check(self, width: int, head_width: int) -> None:
        require(head_width % 2 == 0, "model.width / model.heads", "be a multiple of 2 for position rope1d", head_width)

    def build(self, grid: Grid, width: int, head_width: int) -> Encoding:
        return _Rotary(head_width, self.temperature, flat=True)


@dataclass(frozen=True, kw_only=True)
class Rotary2d(Position):
    """Rotary by row and column: half the channels are rotated by the row, half by the column."""

    kind: ClassVar[str] = "rope2d"
    temperature: float = changes(Aspect.MODEL, default=10_000.0)

    def __post_init__(self) -> None:
        require(self.temperature > 0, "position.temperature", "be positive", self.temperature)

    def check(self, width: int, head_width: int) -> None:
        require(head_width % 4 == 0, "model.width / model.heads", "be a multiple of 4 for position rope2d", head_width)

    def build(self, grid: Grid, width: int, head_width: int) -> Encoding:
        return _Rotary(head_width // 2, self.temperature, flat=False)
