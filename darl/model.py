"""DARL: a causal Vision Transformer that predicts an image's patches one after another (Li et al. 2024, section 3).

    sequence   [start, x_1 … x_{N-1}]   patches in the chosen order, shifted by a start token, the last one dropped
    trunk      z_t = Transformer(x_{<t})
    objective  z_t -> x_t               by MSE, or by denoising x_t (darl.objective)

Unlike a plain ViT: causal attention without a materialised mask; rotary coordinates are the patch's own (row, column),
also where the order is not the raster, and the start token is not turned; a start token in the place of a class token;
features are returned in raster order whatever the order of training; the mask can be taken off afterwards.

Layouts: B batch, N patches, T tokens (N of them in training, N + 1 for features: the start token and all patches),
W width, P pixel values of a patch, H heads, D head width.
"""

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

from darl.generate import Cache, sample_patches
from darl.noise import Noise
from darl.objective import Corruption, Objective, PatchDecoder
from darl.orders import Order, inverse
from darl.patches import Grid, grid_of, normalize_patches, patchify, unpatchify
from darl.positions import Position
from darl.randomness import draw_rows, seed_of
from darl.transformer import Block
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["SIZES", "Darl", "Encoder", "ModelSize", "initialize"]


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """The trunk's shape. Sizes by name are in `SIZES`."""

    width: int = 192
    depth: int = 12
    heads: int = 3
    patch_size: int = 16
    mlp_ratio: float = 4.0
    readout: str = "mean"
    """What stands for the image: the `mean` of the patch tokens, or the `last` token in the order (it has seen all)."""

    def __post_init__(self) -> None:
        for field in ("width", "depth", "heads", "patch_size"):
            require(getattr(self, field) >= 1, f"model.{field}", "be at least 1", getattr(self, field))
        require(self.width % self.heads == 0, "model.width", f"be a multiple of model.heads {self.heads}", self.width)
        require(self.mlp_ratio > 0, "model.mlp_ratio", "be positive", self.mlp_ratio)
        require(self.readout in ("mean", "last"), "model.readout", "be mean or last", self.readout)


SIZES: dict[str, ModelSize] = {
    "nano": ModelSize(width=64, depth=4, heads=4),
    "tiny": ModelSize(width=192, depth=12, heads=3),
    "small": ModelSize(width=384, depth=12, heads=6),
    "base": ModelSize(width=768, depth=12, heads=12),
    "large": ModelSize(width=1024, depth=24, heads=16),
    "huge": ModelSize(width=1280, depth=32, heads=16, patch_size=14),
}


@lru_cache(maxsize=64)
def _visit(order: Order, grid: Grid) -> tuple[Tensor, Tensor]:
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
        size: ModelSize,
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
        self.register_buffer("order", _visit(order, self.grid)[0], persistent=False)
        self.register_buffer("rotation", self._rotary_table(self.grid), persistent=False)
        self.apply(_reset)

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
        return tokens_BTW[:, 1:][:, _visit(self.patch_order, grid)[1].to(tokens_BTW.device)]

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
        return self.order if grid == self.grid else _visit(self.patch_order, grid)[0].to(self.order.device)

    def _last(self, patches: int) -> int:
        """Raster index of the last patch in the order; a grid that is not the model's own is taken to be square."""
        side = math.isqrt(patches)
        grid = self.grid if patches == len(self.order) else (side, side)
        require(
            grid[0] * grid[1] == patches, "readout", "be mean for a grid that is neither the model's nor square", "last"
        )
        return int(_visit(self.patch_order, grid)[0][-1])

    def _rotary_table(self, grid: Grid) -> Tensor | None:
        """timm's rotary table for [start, patches in order] and for q, k and v: (N + 1, 3, 1, 2D)."""
        rotation = self.position.rotation(grid)
        if rotation is None:
            return None
        still = torch.zeros_like(rotation[:1])
        still[:, still.shape[1] // 2 :] = 1
        tokens = torch.cat([still, rotation[_visit(self.patch_order, grid)[0]]])
        return torch.stack([tokens, tokens, still.expand_as(tokens)], dim=1).unsqueeze(2)

    def _rotation(self, grid: Grid) -> Tensor | None:
        return self.rotation if grid == self.grid else self._rotary_table(grid)

    def _run(self, block: nn.Module, x: Tensor, table: Tensor | None) -> Tensor:
        if self.grad_checkpointing and self.training:
            return checkpoint(block, x, table, self.causal, use_reentrant=False)[0]  # pyright: ignore
        return block(x, table, self.causal)[0]


class Darl(nn.Module):
    """The trunk and a patch decoder, trained to predict the next patch. See `darl.create_model`."""

    def __init__(
        self,
        size: ModelSize,
        *,
        image_size: tuple[int, int],
        channels: int,
        order: Order,
        position: Position,
        causal: bool,
        objective: Objective,
        noise: Noise | None,
    ):
        super().__init__()
        require(
            (noise is not None) == objective.uses_noise,
            "noise",
            f"{'be given' if objective.uses_noise else 'be left out'} for objective {objective.kind}",
            noise and str(noise),
        )
        self.objective, self.noise = objective, noise
        self.image_size, self.patch_size = image_size, size.patch_size
        self.patch_dim = channels * size.patch_size**2
        self.encoder = Encoder(
            size, image_size=image_size, channels=channels, order=order, position=position, causal=causal
        )
        self.decoder: PatchDecoder = objective.build(size.width, size.heads, self.patch_dim, size.mlp_ratio)
        self.decoder.apply(_reset)

    @property
    def order(self) -> "Int[Tensor, ' patches']":
        """Raster indices in the order of prediction."""
        return self.encoder.order

    def no_weight_decay(self) -> set[str]:
        """See `Encoder.no_weight_decay`."""
        return {f"encoder.{name}" for name in self.encoder.no_weight_decay()}

    def targets(self, patches: "Float[Tensor, 'batch patches patch_dim']") -> Tensor:
        """What is to be predicted of patches: themselves, or each normalised where the objective says so."""
        return normalize_patches(patches) if self.objective.normalize_target else patches

    def context(self, patches: "Float[Tensor, 'batch patches patch_dim']") -> Tensor:
        """z (B, N, W) for patches in the order of prediction: z_t is the trunk's output from the patches before t."""
        grid = self.encoder.grid
        return self.encoder.trunk(self.encoder.embed(patches[:, :-1], grid), grid)

    def draw(self, rows: range, *purpose: int | str, device: torch.device | str = "cpu") -> Corruption | None:
        """What the diffusion loss adds to the targets of these rows of a batch; None for MSE.

        A row's draw depends on `purpose` (say seed and step) and on the row alone: see `darl.randomness`.
        """
        noise, n = self.noise, len(self.order)
        if noise is None:
            return None

        def gamma(count: int, generator: torch.Generator) -> Tensor:
            return noise.sample((count, n), generator)

        def normal(count: int, generator: torch.Generator) -> Tensor:
            return torch.randn((count, n, self.patch_dim), generator=generator, device=generator.device)

        return Corruption(
            draw_rows(gamma, rows, *purpose, "gamma", device=device),
            draw_rows(normal, rows, *purpose, "noise", device=device),
        )

    def forward(
        self,
        images: "Float[Tensor, 'batch channels height width']",
        corruption: Corruption | None = None,
        seed: int | None = None,
    ) -> dict[str, Tensor]:
        """The loss and the predicted clean patches.

        Args:
            images: normalised pixels, of the model's own size.
            corruption: gamma (B, N) and noise (B, N, P) of the diffusion objective; drawn where not given.
            seed: of that draw; from torch's default generator where not given.

        Returns:
            loss (scalar) and prediction (batch, patches, patch_dim), in the order of `order`.

        """
        self._check(images)
        if corruption is None and self.noise is not None:
            seed = int(torch.randint(2**62, ())) if seed is None else seed
            corruption = self.draw(range(len(images)), seed, device=images.device)
        patches, _ = self.encoder.patches(images)
        loss, prediction = self.decoder.loss(self.context(patches), self.targets(patches), corruption)
        return {"loss": loss, "prediction": prediction}

    def forward_features(
        self, images: "Float[Tensor, 'batch channels height width']"
    ) -> "Float[Tensor, 'batch tokens features']":
        """One feature vector for each patch, in raster order; all patches are read."""
        return self.encoder.forward_features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> "Float[Tensor, 'batch width']":
        """The readout (B, W) of raster-order features (`pre_logits` changes nothing: there is no classifier)."""
        return self.encoder.forward_head(features, pre_logits=pre_logits)

    def flops(self) -> float:
        """Of one image's forward pass in training: `Encoder.flops` of N - 1 patches + N times `Objective.flops`."""
        size, n = self.encoder.size, len(self.order)
        return self.encoder.flops(n - 1) + n * self.objective.flops(size.width, self.patch_dim, size.mlp_ratio)

    @torch.no_grad()
    def generate(
        self, n: int, *, steps: int = 32, prefix: Tensor | None = None, seed: int = 0
    ) -> "Float[Tensor, 'n channels height width']":
        """Draw `n` images (normalised pixels) patch by patch.

        Args:
            n: images.
            steps: noise levels per patch; without meaning for MSE, which predicts the mean.
            prefix: (n, k, patch_dim), the first k patches in the order of prediction; none where not given.
            seed: of the draw.

        Raises UserError where the targets are normalised per patch: their pixels cannot be had back.
        """
        field = "objective.normalize_target"
        require(not self.objective.normalize_target, field, "be false for generation", True)
        require(n >= 1 and steps >= 1, "n and steps", "be at least 1", (n, steps))
        weight = self.encoder.start_token
        prefix = weight.new_empty(n, 0, self.patch_dim) if prefix is None else prefix.to(weight)
        shape = tuple(prefix.shape)
        fits = len(shape) == 3 and shape[0] == n and shape[1] <= len(self.order) and shape[2] == self.patch_dim
        require(fits, "prefix", f"have shape ({n}, at most {len(self.order)}, {self.patch_dim})", shape)
        require(self.encoder.causal, "causal", "be true for generation", False)
        generator = torch.Generator(weight.device).manual_seed(seed)
        cache: Cache = [None] * len(self.encoder.blocks)
        patches = sample_patches(self, prefix, len(self.order), steps, generator, cache)
        return unpatchify(patches[:, inverse(self.order)], self.encoder.grid, self.patch_size)

    def next_context(self, patch: Tensor | None, place: int, batch: int, cache: Cache) -> Tensor:
        """See `darl.generate.Sequential`."""
        start = self.encoder.start_token.expand(batch, -1, -1)
        token = start if patch is None else self.encoder.embed(patch.unsqueeze(1), self.encoder.grid, place - 1)
        return self.encoder.trunk_step(token, place, cache)

    def draw_patch(self, context: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """See `darl.generate.Sequential`."""
        return self.decoder.sample(context, steps, generator)

    def _check(self, images: Tensor) -> None:
        channels = self.patch_dim // self.patch_size**2
        expected = (channels, *self.image_size)
        require(tuple(images.shape[1:]) == expected, "images", f"have shape (batch, {expected})", tuple(images.shape))


def initialize(model: nn.Module, seed: int) -> None:
    """Initialise every module from a seed of its own name: models that share parts share their initial weights."""
    with torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            torch.manual_seed(seed_of(seed, "initialize", name))
            _reset(module)


def _reset(module: nn.Module) -> None:
    """timm's ViT initialisation for linear maps; every other module's own."""
    if isinstance(module, nn.Linear):
        init_weights_vit_timm(module)
    elif hasattr(module, "reset_parameters"):
        module.reset_parameters()  # pyright: ignore[reportCallIssue]
