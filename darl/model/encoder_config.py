"""Configuration of the encoder: its size, the images, and how it reads them. Importing it imports no timm.

`EncoderConfig` is a size (widths and depths; `SIZES` has six by name). `TrunkConfig` adds the images, the patch order,
the position encoding and the mask: everything that `darl.model.encoder.Encoder` needs.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from darl.aspects import Aspect, changes
from darl.model.orders import Order
from darl.model.patches import Grid, grid_of
from darl.model.positions import Position
from darl.model.random_orders import RandomOrder
from darl.model.tokenizers.base import Tokenizer
from darl.variants import require

__all__ = ["ATTENTION", "PREFIX", "SIZES", "EncoderConfig", "TrunkConfig", "attention_fields", "block_flops", "size_of"]


PREFIX = "prefix"
"""The attention of `darl.model.prefix_attention`."""

ATTENTION: dict[str, dict[str, Any]] = {
    "causal": {"causal": True, "attention": None},
    PREFIX: {"causal": False, "attention": PREFIX},
    "full": {"causal": False, "attention": None},
}
"""The fields that say which tokens read which, by the word for it."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The encoder's size. Sizes by name are in `SIZES`.

    Figures below are of digits by `darl pretrain --recipe quick` with seeds 0 to 2, on 359 held-out images: without the
    options 97.7 % by linear probe and 84.5 % with 5 labels a class; with one the mean, and for each seed the difference
    in points. Three seeds decide nothing.
    """

    width: int = changes(Aspect.MODEL, default=192)
    """Channels of a token; a multiple of `heads`, and of 4 × `heads` for rope2d."""
    depth: int = changes(Aspect.MODEL, default=12)
    """Number of Transformer blocks, at least 1."""
    heads: int = changes(Aspect.MODEL, default=3)
    """Number of attention heads, at least 1."""
    patch_size: int = changes(Aspect.INPUT, default=16)
    """Pixels per patch side; divides the image size."""
    mlp_ratio: float = changes(Aspect.MODEL, default=4.0)
    """Hidden width of the MLP as a multiple of `width`, positive."""
    readout: str = changes(Aspect.MODEL, default="mean")
    """The image's feature vector: the `mean` of the patch tokens, or the `last` token in the order (it reads all)."""

    qk_norm: bool | None = changes(Aspect.MODEL, default=None)
    """QK-norm (Henry et al. 2020, arXiv 2010.04245; LayerNorm as in ViT-22B, arXiv 2302.05442): each head's queries and
    keys pass a LayerNorm before they are rotated. Digits: 98.0 % (+0.6, +0.6, -0.3) and 85.5 % (+0.9, +1.3, +0.8)."""
    init_values: float | None = changes(Aspect.MODEL, default=None)
    """LayerScale (Touvron et al. 2021, arXiv 2103.17239): each residual branch is multiplied by a learned vector that
    starts at this positive value; None for none. Digits: with 1e-5 98.2 % (+0.6, +1.1, -0.3) and 85.2 % (-0.4, +1.5,
    +1.0), with 0.1 98.0 % (+0.8, 0, 0) and 84.9 % (-0.3, +1.6, -0.3)."""
    swiglu: bool | None = changes(Aspect.MODEL, default=None)
    """SwiGLU (Shazeer 2020, arXiv 2002.05202) in the place of the MLP's GELU, with two thirds of its hidden width, so
    that it has as many weights. Digits: 98.4 % (+1.4, +1.1, -0.3) and 87.7 % (+2.8, +4.2, +2.6).

    A record leaves these three out where they are off, so that the ids of trials of earlier versions stay as they are.
    """

    def __post_init__(self) -> None:
        for field in ("qk_norm", "swiglu"):
            object.__setattr__(self, field, getattr(self, field) or None)  # off has one form
        scale = self.init_values
        require(scale is None or 0 < scale < math.inf, "model.init_values", "be positive, or none", scale)
        for field in ("width", "depth", "heads", "patch_size"):
            require(getattr(self, field) >= 1, f"model.{field}", "be at least 1", getattr(self, field))
        require(self.width % self.heads == 0, "model.width", f"be a multiple of model.heads {self.heads}", self.width)
        require(self.mlp_ratio > 0, "model.mlp_ratio", "be positive", self.mlp_ratio)
        require(self.readout in ("mean", "last"), "model.readout", "be mean or last", self.readout)
        require(self.mlp_width >= 1, "model.mlp_ratio", "leave the MLP a hidden channel", self.mlp_ratio)

    @property
    def parts(self) -> dict[str, bool | float | None]:
        """What the blocks have beside those of a plain ViT, by timm's names for it."""
        return {"qk_norm": bool(self.qk_norm), "init_values": self.init_values, "swiglu_mlp": bool(self.swiglu)}

    @property
    def mlp_width(self) -> int:
        """Hidden channels of a block's MLP."""
        return int(self.width * self.mlp_ratio * 2 / 3) if self.swiglu else int(self.width * self.mlp_ratio)


SIZES: dict[str, EncoderConfig] = {
    "nano": EncoderConfig(width=64, depth=4, heads=4),
    "tiny": EncoderConfig(width=192, depth=12, heads=3),
    "small": EncoderConfig(width=384, depth=12, heads=6),
    "base": EncoderConfig(width=768, depth=12, heads=12),
    "large": EncoderConfig(width=1024, depth=24, heads=16),
    "huge": EncoderConfig(width=1280, depth=32, heads=16, patch_size=14),
}


def size_of(name: str, **changes: Any) -> EncoderConfig:
    """The size of that name, with some fields changed; raises UserError."""
    require(name in SIZES, "model", f"be one of {', '.join(SIZES)}", name)
    return dataclasses.replace(SIZES[name], **changes)


def attention_fields(word: str, causal: bool | None = None) -> dict[str, Any]:
    """The fields of `ATTENTION` for its word; raises UserError for another, and where `causal` contradicts it."""
    require(word in ATTENTION, "attention", f"be one of {', '.join(ATTENTION)}", word)
    fields = ATTENTION[word]
    agrees = causal in (None, fields["causal"])
    require(agrees, "causal", f"be {str(fields['causal']).lower()}, or left out, for attention {word}", causal)
    return fields


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Everything that the encoder is built from.

    Raises UserError where the patch size does not divide the image, or the position encoding does not fit the widths.
    """

    size: EncoderConfig
    image_size: tuple[int, int]
    """(height, width) in pixels."""
    channels: int
    order: Order
    position: Position
    causal: bool
    """Whether a token reads only itself and those before it in the order, unless an objective says otherwise."""
    attention: str | None = None
    """`prefix`: the encoder is trained with a random prefix that reads itself without mask and the rest causally (see
    `darl.model.objectives.prefix`); features are those of a whole image as prefix, without mask, so `causal` is false.
    None: as `causal` says."""
    context_noise: float | None = None
    """Standard deviation, in that of the images' pixels, of the noise on the patches that the trunk reads in training
    (`darl.model.objectives.next_patch`); None for none."""
    next_patches: int | None = None
    """How many patches each output of the trunk predicts in training (`darl.model.objectives.next_patch`), from 2 to
    all; None for the next one alone."""
    condition: str | None = None
    """`labels`: in training the start token knows the image's class (`darl.model.objectives.condition`); None: not."""
    random_order: RandomOrder | None = None
    """In training each image is read in an order of its own (`darl.model.random_orders`); None for `order` alone.
    Features are read without mask, so `causal` is false. Images are drawn in `order`, which training may end in."""
    classes: int | None = None
    """Number of classes of the images' labels, for an objective that learns them; None where it is not known."""
    tokenizer: Tokenizer | None = None
    """The tokenizer whose tokens are read or predicted; None without tokens."""
    token_input: bool | None = None
    """Whether each patch is read as its token, by a learned vector for each token in the place of the patch embedding;
    None for no."""

    def __post_init__(self) -> None:
        require(self.channels >= 1, "channels", "be at least 1", self.channels)
        require(self.attention in (None, PREFIX), "attention", f"be {PREFIX}, or left out", self.attention)
        noise = self.context_noise
        require(noise is None or 0 < noise < math.inf, "context_noise", "be positive, or none", noise)
        require(self.condition in (None, "labels"), "condition", "be labels, or none", self.condition)
        ahead = self.next_patches
        fits = ahead is None or 2 <= ahead <= self.patches
        require(fits, "next_patches", f"be between 2 and the {self.patches} patches, or none", ahead)
        remedy = "be none for attention prefix, whose prefix hides no patch but the next"
        require(not (ahead and self.attention), "next_patches", remedy, ahead)
        remedy = "be given where tokens are read (token_input)"
        require(not self.token_input or self.tokenizer is not None, "tokenizer", remedy, None)
        fits = not (self.causal and self.attention)
        require(fits, "causal", "be false for attention prefix, whose features are read without mask", self.causal)
        grid_of(self.image_size, self.size.patch_size)
        self.position.check(self.size.width, self.size.width // self.size.heads)
        if self.random_order is not None:
            self.random_order.check(self)

    @property
    def grid(self) -> Grid:
        """(rows, columns) of patches."""
        return grid_of(self.image_size, self.size.patch_size)

    @property
    def patches(self) -> int:
        """Number of patches of an image."""
        return self.grid[0] * self.grid[1]

    @property
    def patch_dim(self) -> int:
        """Number of pixel values of a patch."""
        return self.channels * self.size.patch_size**2

    @property
    def embed_flops(self) -> float:
        """Floating-point operations of the matrix products that turn a patch of P values into a vector of width W.

        2PW; where tokens are read, those of `Tokenizer.encode_flops`. (Training is counted as three forward passes
        everywhere, though a tokenizer makes one: its part of training is counted too high.)
        """
        assert self.tokenizer is not None or not self.token_input
        own = self.tokenizer if self.token_input else None
        return 2 * self.patch_dim * self.size.width if own is None else own.encode_flops(self.patch_dim)

    def trunk_flops(self, patches: int) -> float:
        """Floating-point operations of the forward pass's matrix products for one image of which n patches are read.

        n times `embed_flops`, and `blocks_flops` of n + 1 tokens.
        """
        return patches * self.embed_flops + self.blocks_flops(patches + 1)

    def blocks_flops(self, tokens: int) -> float:
        """`block_flops` of T tokens for each block.

        SwiGLU's three matrices of H hidden channels count as an MLP of ratio 3H / 2W. QK-norm and LayerScale have no
        matrix product.
        """
        size = self.size
        ratio = 1.5 * size.mlp_width / size.width if size.swiglu else size.mlp_ratio
        return size.depth * block_flops(tokens, size.width, ratio)


def block_flops(tokens: int, width: int, mlp_ratio: float) -> float:
    """Floating-point operations of the forward pass's matrix products of a Transformer block that reads T tokens.

    8TW² (q, k, v, out) + 4rTW² (MLP of ratio r) + 4T²W (scores and values, counted whole, as torch's counter does; a
    causal kernel does half of it).
    """
    return (8 + 4 * mlp_ratio) * tokens * width**2 + 4 * tokens**2 * width
