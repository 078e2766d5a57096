"""The encoder: a Vision Transformer that reads patches in an order, causally or not.

Its primitives (`project`, `add_positions`, `embed`, `trunk`, `next_output`) are those of `darl.model.trunk.Trunk`, from
which the objectives compose the forward pass of training. Evaluation uses `forward_features`.
"""

import math
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from darl.model.encoder_config import PREFIX, TrunkConfig
from darl.model.initial_weights import reset
from darl.model.patches import Grid, grid_of, patchify
from darl.model.tables import ordinary_tensors, permutation
from darl.model.token_embed import TokenEmbed
from darl.model.tokenizers.base import TokenizerModel
from darl.model.transformer import Block, Reading, apply_rotary
from darl.model.trunk import Cache
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """A ViT that reads patches in an order, causally or not. It takes every image size that the patch size divides.

    Parameters are those of timm's ViT of the same size, except: `start_token` (where timm has `cls_token`), the
    position encoding's own (one vector per patch where learned, none otherwise; timm's has one for the class token
    too), and a head only where `num_classes` > 0.
    """

    # TorchScript reads `reading` itself
    __jit_unused_properties__: ClassVar[list[str]] = ["causal", "rotation", "tokenizer"]

    def __init__(
        self,
        config: TrunkConfig,
        *,
        drop_path: float = 0.0,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        num_classes: int = 0,
    ):
        super().__init__()
        size = config.size
        self.size, self.patch_order, self.readout = size, config.order, size.readout
        self.grid, self.encoding = config.grid, config.position
        self.num_features = self.head_hidden_size = self.embed_dim = size.width
        self.num_classes = num_classes
        self.grad_checkpointing = False
        self.patch_embed = _patch_embedding(config)
        self.position = config.position.build(self.grid, size.width, size.width // size.heads)
        self.start_token = nn.Parameter(torch.empty(1, 1, size.width))
        self.reading, self.reads_prefix = Reading(config.causal), config.attention == PREFIX
        rates = torch.linspace(0, drop_path, size.depth, device="cpu").tolist() if drop_path else [0.0] * size.depth
        self.blocks = nn.ModuleList(
            Block(
                size.width, size.heads, size.mlp_width, self.reading, rate, attn_drop, proj_drop,
                qk_norm=bool(size.qk_norm), init_values=size.init_values, swiglu=bool(size.swiglu),
            )
            for rate in rates
        )  # fmt: skip
        self.norm = nn.LayerNorm(size.width, eps=1e-6)
        self.head = nn.Linear(size.width, num_classes) if num_classes else nn.Identity()
        for table in ("order", "inverse", "additive"):
            self.register_buffer(table, None, persistent=False)
        self.register_load_state_dict_post_hook(_build_tables)
        self.apply(reset)

    order: Tensor
    """Raster indices of the own grid's patches in the order of prediction."""
    inverse: Tensor
    """For each patch of the own grid, in raster order, its index in the order."""
    additive: Tensor | None
    """The own grid's additive position encoding, in raster order, where it never changes."""

    @property
    def causal(self) -> bool:
        """Whether a token reads only itself and those before it, unless a call says otherwise."""
        return self.reading.causal

    @causal.setter
    def causal(self, causal: bool) -> None:
        self.reading.causal = causal

    @property
    def tokenizer(self) -> TokenizerModel | None:
        """The tokenizer whose tokens it reads in the place of patches; None where it reads patches."""
        return self.patch_embed.tokenizer if isinstance(self.patch_embed, TokenEmbed) else None

    @property
    def rotation(self) -> Tensor | None:
        """The own grid's rotary table."""
        return self.reading.rotation

    def reset_parameters(self) -> None:
        """Initialise the start token as timm initialises a class token; build the tables."""
        nn.init.normal_(self.start_token, std=1e-6)
        self.build_tables()

    def build_tables(self) -> None:
        """Build the tables of the own grid, in the parameters' type, on their device.

        Called whenever weights are set: a model that is made on the meta device and then moved by `to_empty` has
        tables of undefined content before.
        """
        with ordinary_tensors():
            self.order, self.inverse = (table.to(self.start_token.device) for table in self._permutation(self.grid))
            additive = self.position.additive(self.grid) if self.position.fixed else None
            self.additive = None if additive is None else additive.to(self.start_token)
            rotation = self._rotary_table(self.grid)
            self.reading.rotation = None if rotation is None else rotation.to(self.start_token)

    def no_weight_decay(self) -> set[str]:
        """Parameters without weight decay, in addition to those of one axis; timm's optimiser factory calls this."""
        return {"start_token", "position.table"}

    def project(self, patches: "Float[Tensor, 'batch read patch_dim']") -> "Float[Tensor, 'batch read features']":
        """Tokens of patch vectors, without positions. `darl.model.trunk.Trunk` documents the primitives in full."""
        if isinstance(self.patch_embed, TokenEmbed):
            return self.patch_embed(patches)
        projection = self.patch_embed.proj
        return F.linear(patches, projection.weight.flatten(1), projection.bias)

    def add_positions(
        self, tokens: "Float[Tensor, 'batch read features']", grid: Grid, at: Tensor | slice | None = None
    ) -> "Float[Tensor, 'batch read features']":
        """Tokens plus the additive position encoding, where there is one."""
        own = grid == self.grid and self.additive is not None
        additive = self.additive if own else self.position.additive(grid)
        if additive is None:
            return tokens
        rows = self._order(grid)[slice(0, tokens.shape[1]) if at is None else at]
        table = additive.to(tokens)
        # one patch stands at several rows: the gradient of plain indexing would depend on the timing of threads
        return tokens + (table[rows] if rows.ndim == 1 else F.embedding(rows, table))

    def embed(self, patches: Tensor, grid: Grid, at: Tensor | slice | None = None) -> Tensor:
        """`project` patches (B, n, P), then `add_positions`: (B, n, W)."""
        return self.add_positions(self.project(patches), grid, at)

    def rotate(self, tokens: Tensor, at: Tensor) -> Tensor:
        """Tokens (B, n, W) at (B, n) rotated head by head as their queries are, where positions are rotary."""
        if self.rotation is None:
            return tokens
        return apply_rotary(tokens.unflatten(2, (1, self.size.heads, -1)), self.rotation[at + 1][:, :, :1]).flatten(2)

    def states(
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
    ) -> Iterator[Tensor]:
        """[start, tokens] (B, T, W) after each block; arguments as of `trunk`."""
        start = self._start(len(tokens), condition).to(tokens.dtype)
        x, table = torch.cat([start, tokens], dim=1), self._rotation(grid)
        x = x if added is None else x + added
        if table is not None:
            table = table[: x.shape[1]] if at is None else table[F.pad(at + 1, (1, 0))]  # row 0 is the start token's
            table = table.to(x.device)
        causal = mask is None and prefix is None and not streams and (self.causal if causal is None else causal)
        for block in self.blocks:
            x = self._run(block, x, table, causal, mask, prefix, streams)
            yield x

    def trunk(self, tokens: Tensor, grid: Grid, **reading: Any) -> Tensor:
        """[start, tokens] (B, T, W) through all blocks and the last norm; arguments as of `Trunk.trunk`."""
        return self.norm(deque(self.states(tokens, grid, **reading), maxlen=1)[0])

    def raster(self, tokens_BTW: Tensor, grid: Grid) -> Tensor:
        """Patch tokens (B, N, W) in raster order, from [start, tokens]."""
        own = grid == self.grid
        return tokens_BTW[:, 1:][:, self.inverse if own else self._permutation(grid)[1].to(tokens_BTW.device)]

    def new_cache(self) -> Cache:
        """An empty cache, for `next_output`."""
        return [None] * len(self.blocks)

    def next_output(
        self, patch: Tensor | None, index: int, batch: int, cache: Cache, condition: Tensor | None = None
    ) -> Tensor:
        """The causal trunk's output (B, 1, W) from which the patch at `index` of the order is predicted."""
        if patch is None:
            x = self._start(batch, condition)
        else:
            x = self.embed(patch.unsqueeze(1), self.grid, slice(index - 1, index))
        table = None if self.rotation is None else self.rotation[index : index + 1]
        for layer, block in enumerate(self.blocks):
            x, cache[layer] = block.extend(x, table, cache[layer])  # pyright: ignore[reportCallIssue]
        return self.norm(x)

    def forward_features(
        self, images: "Float[Tensor, 'batch channels height width']"
    ) -> "Float[Tensor, 'batch tokens features']":
        """One feature vector for each patch, in raster order; all patches are read."""
        patches, grid = self.patches(images)
        return self.raster(self.trunk(self.embed(patches, grid), grid), grid)

    def forward_blocks(
        self, images: "Float[Tensor, 'batch channels height width']", *, causal: bool | None = None
    ) -> "Iterator[Float[Tensor, 'batch tokens features']]":
        """The patches' features in raster order after each block; those of the last block have passed the last norm.

        causal: whether a token reads only itself and those before it; by default as configured.
        """
        patches, grid = self.patches(images)
        for number, state in enumerate(self.states(self.embed(patches, grid), grid, causal=causal), start=1):
            yield self.raster(self.norm(state) if number == len(self.blocks) else state, grid)

    def patches(self, images: "Float[Tensor, 'batch channels height width']") -> tuple[Tensor, Grid]:
        """Patch vectors (B, N, P) in the order of prediction, and their grid."""
        grid = grid_of((images.shape[2], images.shape[3]), self.size.patch_size)
        return patchify(images, self.size.patch_size)[:, self._order(grid)], grid

    def forward_head(
        self, features: "Float[Tensor, 'batch tokens features']", pre_logits: bool = False
    ) -> "Float[Tensor, 'batch outputs']":
        """The readout (B, W) of raster-order features; through the classifier unless `pre_logits`."""
        pooled = self.pool(features, self.readout)
        return pooled if pre_logits else self.head(pooled)

    def pool(self, features: Tensor, readout: str) -> Tensor:
        """The mean (B, W) of raster-order features (B, N, W), or those of the order's last patch (`mean`, `last`)."""
        if readout == "mean":
            return features.mean(dim=1)
        return features.index_select(1, self._last(features.shape[1])).squeeze(1)

    def forward(self, images: "Float[Tensor, 'batch channels height width']") -> "Float[Tensor, 'batch outputs']":
        """Class scores (B, num_classes), or the readout (B, W) where there is no classifier."""
        return self.forward_head(self.forward_features(images))

    def _start(self, batch: int, condition: Tensor | None) -> Tensor:
        """The start tokens (B, 1, W), plus what each image is conditioned on (B, W)."""
        start = self.start_token.expand(batch, -1, -1)
        return start if condition is None else start + condition.unsqueeze(1)

    def _order(self, grid: Grid) -> Tensor:
        return self.order if grid == self.grid else self._permutation(grid)[0].to(self.order.device)

    def _permutation(self, grid: Grid) -> tuple[Tensor, Tensor]:
        return permutation(self.patch_order, grid)

    def _last(self, patches: int) -> Tensor:
        """Raster index (1) of the last patch in the order; other numbers of patches are square grids."""
        side = math.isqrt(patches)
        grid = self.grid if patches == len(self.order) else (side, side)
        require(
            grid[0] * grid[1] == patches, "readout", "be mean for a grid that is neither the model's nor square", "last"
        )
        return self._order(grid)[-1:]

    def _rotary_table(self, grid: Grid) -> Tensor | None:
        """timm's rotary table (N + 1, 3, 1, 2D) for [start, patches in order], for q, k and v; D is the head width."""
        with ordinary_tensors():
            rotation = self.position.rotation(grid)
            if rotation is None:
                return None
            unrotated = torch.zeros_like(rotation[:1])  # sines 0, cosines 1
            unrotated[:, unrotated.shape[1] // 2 :] = 1
            tokens = torch.cat([unrotated, rotation[self._permutation(grid)[0]]])
            return torch.stack([tokens, tokens, unrotated.expand_as(tokens)], dim=1).unsqueeze(2)

    def _rotation(self, grid: Grid) -> Tensor | None:
        return self.rotation if grid == self.grid else self._rotary_table(grid)

    def _run(self, block: nn.Module, x: Tensor, *reading: Tensor | bool | None) -> Tensor:
        if self.grad_checkpointing and self.training:
            return checkpoint(block, x, *reading, use_reentrant=False)  # pyright: ignore
        return block(x, *reading)


def _build_tables(encoder: Encoder, *_: object) -> None:
    """Hook that a module calls after it has loaded weights."""
    encoder.build_tables()


def _patch_embedding(config: TrunkConfig) -> Any:
    """timm's, or that of tokens where these are read."""
    width, patch_size = config.size.width, config.size.patch_size
    if config.token_input and config.tokenizer is not None:
        return TokenEmbed(config.tokenizer, config.channels, patch_size, width)
    return PatchEmbed(config.image_size, patch_size, config.channels, width, strict_img_size=False)
