"""The trunk: a Vision Transformer that reads patches in an order, causally or not."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from timm.models.vision_transformer import init_weights_vit_timm
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from darl.aspects import Aspect, changes
from darl.model.orders import Order, inverse
from darl.model.patches import Grid, grid_of, patchify
from darl.model.positions import Position
from darl.model.sampling import Cache
from darl.model.transformer import Block
from darl.randomness import seed_of
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["SIZES", "Encoder", "EncoderConfig", "initialize"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The trunk's shape. Sizes by name are in `SIZES`."""

    width: int = changes(Aspect.MODEL, default=192)
    depth: int = changes(Aspect.MODEL, default=12)
    heads: int = changes(Aspect.MODEL, default=3)
    patch_size: int = changes(Aspect.INPUT, default=16)
    mlp_ratio: float = changes(Aspect.MODEL, default=4.0)
    readout: str = changes(Aspect.MODEL, default="mean")
    """What stands for the image: the `mean` of the patch tokens, or the `last` token in the order (it has seen all)."""

    def __post_init__(self) -> None:
        for field in ("width", "depth", "heads", "patch_size"):
            require(getattr(self, field) >= 1, f"model.{field}", "be at least 1", getattr(self, field))
        require(self.width % self.heads == 0, "model.width", f"be a multiple of model.heads {self.heads}", self.width)
        require(self.mlp_ratio > 0, "model.mlp_ratio", "be positive", self.mlp_ratio)
        require(self.readout in ("mean", "last"), "model.readout", "be mean or last", self.readout)


SIZES: dict[str, EncoderConfig] = {
    "nano": EncoderConfig(width=64, depth=4, heads=4),
    "tiny": EncoderConfig(width=192, depth=12, heads=3),
    "small": EncoderConfig(width=384, depth=12, heads=6),
    "base": EncoderConfig(width=768, depth=12, heads=12),
    "large": EncoderConfig(width=1024, depth=24, heads=16),
    "huge": EncoderConfig(width=1280, depth=32, heads=16, patch_size=14),
}


@lru_cache(maxsize=64)
def permutation_of(order: Order, grid: Grid) -> tuple[Tensor, Tensor]:
    """The order as a permutation of raster indices, and its inverse, on the CPU."""
    permutation = order.permutation(*grid)
    return permutation, inverse(permutation)


class Encoder(nn.Module):
    """The trunk: a ViT that reads patches in an order, causally or not. Takes any image size that patches divide.

    Parameters are those of timm's ViT of the same size, but for: `start_token` (in the place of `cls_token`), the
    position encoding's own (one vector per patch where learned, none otherwise; timm's has one for the class token
    too), and a head only where `num_classes` > 0.
    """

    def __init__(
        self,
        size: EncoderConfig,
        *,
        image_size: tuple[int, int],
        channels: int,
        order: Order,
        position: Position,
        causal: bool = True,
        drop_path: float = 0.0,
        num_classes: int = 0,
    ):
        super().__init__()
        require(channels >= 1, "channels", "be at least 1", channels)
        self.size, self.patch_order, self.causal, self.readout = size, order, causal, size.readout
        self.grid = grid_of(image_size, size.patch_size)
        self.num_features = self.head_hidden_size = self.embed_dim = size.width
        self.num_classes = num_classes
        self.grad_checkpointing = False
        self.patch_embed = PatchEmbed(image_size, size.patch_size, channels, size.width, strict_img_size=False)
        self.position = position.build(self.grid, size.width, size.width // size.heads)
        self.start_token = nn.Parameter(torch.empty(1, 1, size.width))
        rates = torch.linspace(0, drop_path, size.depth).tolist()
        self.blocks = nn.ModuleList(Block(size.width, size.heads, size.mlp_ratio, rate) for rate in rates)
        self.norm = nn.LayerNorm(size.width, eps=1e-6)
        self.head = nn.Linear(size.width, num_classes) if num_classes else nn.Identity()
        self.register_buffer("order", permutation_of(order, self.grid)[0], persistent=False)
        self.register_buffer("rotation", self._rotary_table(self.grid), persistent=False)
        self.apply(reset)

    order: Tensor
    rotation: Tensor | None

    def reset_parameters(self) -> None:
        """timm's initialisation of a class token."""
        nn.init.normal_(self.start_token, std=1e-6)

    def no_weight_decay(self) -> set[str]:
        """Parameters that weight decay leaves alone, beside vectors: timm's optimiser factory asks."""
        return {"start_token", "position.table"}

    def embed(
        self, patches: "Float[Tensor, 'batch read patch_dim']", grid: Grid, first: int = 0
    ) -> "Float[Tensor, 'batch read features']":
        """Tokens of patch vectors in the order of prediction, the first of them at place `first` of the order."""
        projection, additive = self.patch_embed.proj, self.position.additive(grid)
        tokens = F.linear(patches, projection.weight.flatten(1), projection.bias)
        if additive is None:
            return tokens
        places = self._order(grid)[first : first + patches.shape[1]]
        return tokens + additive.to(tokens)[places]

    def states(self, tokens_BTW: Tensor, grid: Grid) -> Iterator[Tensor]:
        """[start, tokens] (B, T, W) after each block."""
        start = self.start_token.expand(len(tokens_BTW), -1, -1).to(tokens_BTW.dtype)
        x, table = torch.cat([start, tokens_BTW], dim=1), self._rotation(grid)
        table = None if table is None else table[: x.shape[1]].to(x.device)
        for block in self.blocks:
            x = self._run(block, x, table)
            yield x

    def trunk(self, tokens_BTW: Tensor, grid: Grid) -> Tensor:
        """[start, tokens] (B, T, W) through all blocks and the last norm."""
        last = deque(self.states(tokens_BTW, grid), maxlen=1)
        return self.norm(last[0])

    def raster(self, tokens_BTW: Tensor, grid: Grid) -> Tensor:
        """Patch tokens (B, N, W) in raster order, from [start, tokens]."""
        return tokens_BTW[:, 1:][:, permutation_of(self.patch_order, grid)[1].to(tokens_BTW.device)]

    def trunk_step(self, token_B1W: Tensor, place: int, cache: Cache) -> Tensor:
        """The causal trunk's output (B, 1, W) after one more token, the one at `place` of [start, tokens]."""
        x, table = token_B1W, self._rotation(self.grid)
        table = None if table is None else table[place : place + 1]
        for index, block in enumerate(self.blocks):
            x, cache[index] = block(x, table, True, cache[index])
        return self.norm(x)

    def forward_features(
        self, images: "Float[Tensor, 'batch channels height width']"
    ) -> "Float[Tensor, 'batch tokens features']":
        """One feature vector for each patch, in raster order; all patches are read."""
        patches, grid = self.patches(images)
        return self.raster(self.trunk(self.embed(patches, grid), grid), grid)

    def patches(self, images: "Float[Tensor, 'batch channels height width']") -> tuple[Tensor, Grid]:
        """Patch vectors (B, N, P) in the order of prediction, and their grid."""
        grid = grid_of((images.shape[2], images.shape[3]), self.size.patch_size)
        return patchify(images, self.size.patch_size)[:, self._order(grid)], grid

    def forward_head(
        self, features: "Float[Tensor, 'batch tokens features']", pre_logits: bool = False
    ) -> "Float[Tensor, 'batch outputs']":
        """The readout (B, W) of raster-order features; through the classifier unless `pre_logits`."""
        pooled = features.mean(dim=1) if self.readout == "mean" else features[:, self._last(features.shape[1])]
        return pooled if pre_logits else self.head(pooled)

    def forward(self, images: "Float[Tensor, 'batch channels height width']") -> "Float[Tensor, 'batch outputs']":
        """Class scores (B, num_classes), or the readout (B, W) where there is no classifier."""
        return self.forward_head(self.forward_features(images))

    def flops(self, patches: int) -> float:
        """Floating-point operations of the matrix products for one image of which n patches are read, forward.

        2nPW to embed; with T = n + 1 tokens, for each block 8TW² (q, k, v, out) + 4rTW² (MLP of ratio r) + 4T²W (scores
        and values, counted whole, as torch's counter does; a causal kernel does half of it).
        """
        width, tokens = self.size.width, patches + 1
        patch_dim = self.patch_embed.proj.weight[0].numel()
        block = (8 + 4 * self.size.mlp_ratio) * tokens * width**2 + 4 * tokens**2 * width
        return 2 * patches * patch_dim * width + self.size.depth * block

    def _order(self, grid: Grid) -> Tensor:
        return self.order if grid == self.grid else permutation_of(self.patch_order, grid)[0].to(self.order.device)

    def _last(self, patches: int) -> int:
        """Raster index of the last patch in the order; a grid that is not the model's own is taken to be square."""
        side = math.isqrt(patches)
        grid = self.grid if patches == len(self.order) else (side, side)
        require(
            grid[0] * grid[1] == patches, "readout", "be mean for a grid that is neither the model's nor square", "last"
        )
        return int(permutation_of(self.patch_order, grid)[0][-1])

    def _rotary_table(self, grid: Grid) -> Tensor | None:
        """timm's rotary table for [start, patches in order] and for q, k and v: (N + 1, 3, 1, 2D)."""
        rotation = self.position.rotation(grid)
        if rotation is None:
            return None
        still = torch.zeros_like(rotation[:1])
        still[:, still.shape[1] // 2 :] = 1
        tokens = torch.cat([still, rotation[permutation_of(self.patch_order, grid)[0]]])
        return torch.stack([tokens, tokens, still.expand_as(tokens)], dim=1).unsqueeze(2)

    def _rotation(self, grid: Grid) -> Tensor | None:
        return self.rotation if grid == self.grid else self._rotary_table(grid)

    def _run(self, block: nn.Module, x: Tensor, table: Tensor | None) -> Tensor:
        if self.grad_checkpointing and self.training:
            return checkpoint(block, x, table, self.causal, use_reentrant=False)[0]  # pyright: ignore
        return block(x, table, self.causal)[0]


def initialize(model: nn.Module, seed: int) -> None:
    """Initialise every module from a seed of its own name: models that share parts share their initial weights."""
    with torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            torch.manual_seed(seed_of(seed, "initialize", name))
            reset(module)


def reset(module: nn.Module) -> None:
    """timm's ViT initialisation for linear maps; every other module's own."""
    if isinstance(module, nn.Linear):
        init_weights_vit_timm(module)
    elif hasattr(module, "reset_parameters"):
        module.reset_parameters()  # pyright: ignore[reportCallIssue]
