"""How patches are read in an order of each image's own: the modules of `darl.model.random_orders`, which has the idea.

Layouts: B batch, N patches, W width, P pixel values of a patch. `at` (B, n): indices into the patch order.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.model.patches import take
from darl.model.trunk import Trunk

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["InstructedReader", "OrderReader", "TargetAwareReader", "TwoStreamReader"]


class OrderReader(nn.Module):
    """Reads patches in the order of each image."""

    @abstractmethod
    def read(
        self, trunk: Trunk, patches: "Float[Tensor, 'batch before patch_dim']", at: "Int[Tensor, 'batch outputs']"
    ) -> "Float[Tensor, 'batch outputs width']":
        """For each of n patches, what is known of it from its position and the patches before it.

        Args:
            trunk: the encoder.
            patches: the first n - 1 patches, in the order of each image.
            at: the n patches, in that order.

        """

    def context(self, trunk: Trunk, patches: Tensor, at: Tensor, noise: Tensor | None = None) -> Tensor:
        """The same for all N `patches` (B, N, P) of the patch order, in the patch order (B, N, W); `at` is (B, N).

        noise: (B, N - 1, P), added to what is read.
        """
        read = take(patches, at)[:, :-1]
        return take(self.read(trunk, read if noise is None else read + noise, at), at.argsort(1))


class _Told(OrderReader):
    """A reader with one learned vector for the patch that comes next."""

    def __init__(self, width: int):
        super().__init__()
        self.vector = nn.Parameter(torch.empty(width))  # one axis, so that weight decay does not apply

    def reset_parameters(self) -> None:
        """The initialisation of a learned token."""
        nn.init.normal_(self.vector, std=0.02)

    def placed(self, trunk: Trunk, at: Tensor, like: Tensor) -> Tensor:
        """The vector (B, n, W) at each patch's position: plus an additive one, rotated by a rotary one."""
        vectors = like.new_zeros(*at.shape, len(self.vector)) + self.vector.to(like)  # not `expand`: see `mse`
        return trunk.rotate(trunk.add_positions(vectors, trunk.grid, at), at)


class TwoStreamReader(_Told):
    """See `TwoStream`."""

    def read(self, trunk: Trunk, patches: Tensor, at: Tensor) -> Tensor:
        """See `OrderReader.read`."""
        content = trunk.embed(patches, trunk.grid, at[:, :-1])
        tokens = torch.cat([content, self.placed(trunk, at, content)], dim=1)
        both = trunk.trunk(tokens, trunk.grid, at=torch.cat([at[:, :-1], at], dim=1), streams=True)
        return both[:, at.shape[1] :]


class InstructedReader(_Told):
    """See `PositionInstruction`."""

    def read(self, trunk: Trunk, patches: Tensor, at: Tensor) -> Tensor:
        """See `OrderReader.read`."""
        content = trunk.embed(patches, trunk.grid, at[:, :-1])
        told = self.placed(trunk, at, content)
        pairs = torch.stack([told[:, :-1], content], dim=2).flatten(1, 2)
        tokens, places = torch.cat([pairs, told[:, -1:]], dim=1), at.repeat_interleave(2, dim=1)[:, :-1]
        return trunk.trunk(tokens, trunk.grid, at=places, causal=True)[:, 1::2]


class TargetAwareReader(OrderReader):
    """See `TargetAware`."""

    def __init__(self, patches: int, width: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(patches, width))
        """A vector for each patch, in raster order."""

    def reset_parameters(self) -> None:
        """The initialisation of a ViT's position embedding, as RAR's."""
        nn.init.trunc_normal_(self.table, std=0.02)

    def read(self, trunk: Trunk, patches: Tensor, at: Tensor) -> Tensor:
        """See `OrderReader.read`."""
        content = trunk.embed(patches, trunk.grid, at[:, :-1])
        # not plain indexing, whose gradient would depend on the timing of threads
        added = F.embedding(trunk.order[at], self.table.to(content))
        return trunk.trunk(content, trunk.grid, at=at[:, :-1], causal=True, added=added)
