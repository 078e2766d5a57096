"""The encoder's interface for objectives: the primitives from which an objective composes a forward pass.

`darl.model.encoder.Encoder` provides them. An objective chooses which patches are read, in which order, with which
mask. Next-patch prediction reads all patches but the last, causally; a masked objective puts a mask token in front of
`add_positions` and reads in both directions; one that reads only some patches of each image names them by `at`.

The blocks read a start token in front of the tokens; it has no position. Layouts: B batch, N patches, W width,
P pixel values of a patch, n tokens without the start token.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from darl.model.patches import Grid
from darl.model.tokenizers.base import TokenizerModel

__all__ = ["Cache", "Trunk"]

Cache = list[tuple[Tensor, Tensor] | None]
"""For each block the keys and values (batch, heads, tokens, head width) of the tokens read so far."""


@runtime_checkable  # the tests check argument types at run time
class Trunk(Protocol):
    """The encoder's primitives. The argument `at` is explained in `trunk`."""

    grid: Grid
    """(rows, columns) of patches of the images in training."""
    order: Tensor
    """Raster indices (N) of the patches of `grid` in the order of prediction."""
    inverse: Tensor
    """For each patch of `grid`, in raster order, its index in the order."""

    @property
    def causal(self) -> bool:
        """Whether `trunk` uses the causal mask where neither its `causal` nor its `mask` is given."""
        ...

    @property
    def tokenizer(self) -> TokenizerModel | None:
        """The tokenizer whose tokens it reads in the place of patches; None where it reads patches."""
        ...

    @property
    def reads_prefix(self) -> bool:
        """Whether it is trained with prefix attention: it predicts by `prefix`, or causally, where others do as set."""
        ...

    def project(self, patches: Tensor) -> Tensor:
        """Tokens (B, n, W) of patch vectors (B, n, P): the patch embedding, without positions."""
        ...

    def add_positions(self, tokens: Tensor, grid: Grid, at: Tensor | None = None) -> Tensor:
        """Tokens plus the additive position encoding, where there is one."""
        ...

    def embed(self, patches: Tensor, grid: Grid, at: Tensor | None = None) -> Tensor:
        """`project`, then `add_positions`."""
        ...

    def rotate(self, tokens: Tensor, at: Tensor) -> Tensor:
        """Tokens (B, n, W) rotated head by head as their queries are, where positions are rotary; `at` is (B, n)."""
        ...

    def trunk(
        self,
        tokens: Tensor,
        grid: Grid,
        *,
        at: Tensor | None = None,
        causal: bool | None = None,
        mask: Tensor | None = None,
        prefix: Tensor | None = None,
        condition: Tensor | None = None,
        streams: bool = False,
        added: Tensor | None = None,
    ) -> Tensor:
        """[start, tokens] (B, n + 1, W) through all blocks and the last norm.

        Args:
            tokens: (B, n, W), from `embed`.
            grid: (rows, columns) of patches of the image.
            at: the patches that the tokens represent, as indices into the patch order: (n) for all images alike, or
                (B, n). By default the first n of the order.
            causal: whether a token reads only itself and those before it; by default as configured.
            mask: instead of `causal`: boolean, (n + 1, n + 1) or (B, 1, n + 1, n + 1), the start token counted;
                true where the row's token reads the column's.
            prefix: instead of `causal`: (B), for each image how many tokens read one another, from 1 (the start token
                alone) to n + 1; the others read causally. See `darl.model.prefix_attention`.
            condition: (B, W), added to each image's start token (`darl.model.objectives.condition`).
            streams: instead of `causal`: [start, tokens] are two streams of equal length. The first is read causally;
                token i of the second reads those up to i of the first, and none of its own stream (not even itself).
            added: (B, n + 1, W), added to [start, tokens].

        """
        ...

    def next_output(
        self, patch: Tensor | None, index: int, batch: int, cache: Cache, condition: Tensor | None = None
    ) -> Tensor:
        """The causal trunk's output (B, 1, W) from which the patch at `index` of the order is predicted.

        patch: (B, P), the patch before it; None for index 0, where the start token is read, plus `condition` (B, W).
        cache: from `new_cache`; it is extended in place, so that each call computes one token only.
        """
        ...

    def new_cache(self) -> Cache:
        """An empty cache, for `next_output`."""
        ...
