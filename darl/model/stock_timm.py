"""The encoder as a model of stock timm, which needs none of darl's code and gives the same features.

What the encoder has that a ViT has not is in timm under other names:

- The start token is a class token without a position (`no_embed_class`); timm rotates neither.
- `rope2d` is timm's axial rotary encoding at the patches' indices (`rope_type="cat"`). `rope1d` turns a patch by its
  raster index, row · columns + column: timm's mixed encoding (`rope_type="mixed"`, Heo et al. 2024), whose angle is
  row · f + column · g, with f = columns · g. These are in `Eva` (timm/models/eva.py), with `attn_type="rope"`, since
  EVA's own attention has no bias of the keys. All other models are plain `VisionTransformer`s.
- The causal mask in raster order is `is_causal=True` of timm's forward methods (timm 1.0.26); that of another order is
  their `attn_mask`. Without the mask the order makes no difference, since every patch carries its own position.
- QK-norm and LayerScale have the same arguments; SwiGLU only in `Eva`: a plain `VisionTransformer` takes it as a class,
  which its configuration cannot hold.
- The mean of the normed patch tokens is `global_pool="avg"` with the norm before the pooling, not after it.
"""

import re
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from darl.model.positions import Position, Rotary1d, Rotary2d
from darl.model.timm_encoder import TimmEncoder
from darl.variants import require

__all__ = ["StockModel", "stock_model"]

_EVA = "eva_giant_patch14_224"
"""timm's name of an `Eva` that sets nothing but widths, all of which are given here: `timm.create_model` cannot take
back an option such as `init_values`, which adds parameters, since it drops arguments that are None."""

_VIT = "vit_base_patch16_224"
"""timm's name of a plain `VisionTransformer`."""


@dataclass(frozen=True, kw_only=True)
class StockModel:
    """A model of stock timm, and what its forward methods must be given."""

    architecture: str
    """The model's name in timm."""
    arguments: dict[str, Any]
    """Arguments of `timm.create_model`; plain JSON values."""
    weights: dict[str, Tensor]
    causal: bool
    """Whether the forward methods need `is_causal=True`."""
    mask: Tensor | None
    """What the forward methods need as `attn_mask`, (1 + N, 1 + N), true where a row reads a column; else None."""

    def build(self, pretrained_cfg: dict[str, Any]) -> nn.Module:
        """The model with its weights, in evaluation mode; pretrained_cfg: timm's, as `mean` and `std`."""
        import timm

        model = timm.create_model(self.architecture, pretrained_cfg=pretrained_cfg, **self.arguments)
        model.load_state_dict(self.weights)
        return model.eval()

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of the forward methods."""
        causal: dict[str, Any] = {"is_causal": True} if self.causal else {}
        return causal if self.mask is None else {"attn_mask": self.mask}


def stock_model(encoder: TimmEncoder) -> StockModel:
    """The encoder as a model of stock timm.

    Raises UserError where the position encoding is a rotary one that timm does not have, and for SwiGLU without one.
    """
    size, blocks = encoder.size, dict[str, Any]()
    architecture, arguments, added = _positioned(encoder.encoding, encoder)
    if architecture == _EVA and size.swiglu:  # aligned to 1 channel, it is timm's `SwiGLU` and not its `GluMlp`
        blocks = {"swiglu_mlp": True, "swiglu_align_to": 1, "mlp_ratio": (size.mlp_width + 0.5) / size.width}
    remedy = "be left out for stock timm, whose models without rotary positions cannot be told of SwiGLU"
    require(not size.swiglu or bool(blocks), "model.swiglu", remedy, size.swiglu)
    if size.qk_norm:
        blocks["qk_norm"] = True
    if size.init_values is not None:
        blocks["init_values"] = size.init_values
    raster = torch.equal(encoder.order.cpu(), torch.arange(len(encoder.order)))
    return StockModel(
        architecture=architecture,
        arguments={
            "img_size": [side * size.patch_size for side in encoder.grid],
            "patch_size": size.patch_size,
            "in_chans": encoder.in_chans,
            "num_classes": 0,
            "embed_dim": size.width,
            "depth": size.depth,
            "num_heads": size.heads,
            "mlp_ratio": size.mlp_ratio,
            "class_token": True,
            "no_embed_class": True,
            "qkv_bias": True,
            "global_pool": encoder.global_pool if encoder.global_pool == "avg" else "",
            **arguments,
            **blocks,
        },
        weights=_renamed(encoder, architecture) | added,
        causal=encoder.causal and raster,
        mask=None if raster or not encoder.causal else _mask(encoder.inverse),
    )


@singledispatch
def _positioned(position: Position, encoder: TimmEncoder) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """timm's name, arguments and weights for a position encoding; this function's are for those that are added."""
    rotated = encoder.position.rotation(encoder.grid) is not None
    require(not rotated, "position", "be rope1d, rope2d or not rotary: stock timm has no other", str(position))
    additive = encoder.position.additive(encoder.grid)
    norms = {"final_norm": True, "fc_norm": False}
    if additive is None:
        return _VIT, {"pos_embed": "none", **norms}, {}
    table = additive.detach().to(encoder.start_token).unsqueeze(0)
    return _VIT, {"pos_embed": "learn", **norms}, {"pos_embed": table.clone()}


@_positioned.register
def _(position: Rotary2d, encoder: TimmEncoder) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    return _EVA, {**_rotary("cat"), "rope_temperature": position.temperature}, {}


@_positioned.register
def _(position: Rotary1d, encoder: TimmEncoder) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    from timm.layers import freq_bands

    size = encoder.size
    head_width = size.width // size.heads
    remedy = "be a multiple of 4 for stock timm's mixed rotary encoding, in which rope1d is written"
    require(head_width % 4 == 0, "model.width / model.heads", remedy, head_width)
    column = freq_bands(head_width // 2, temperature=position.temperature, step=1)
    frequencies = torch.stack([column * encoder.grid[1], column])[:, None, None]
    expanded = frequencies.expand(2, size.depth, size.heads, -1).to(encoder.start_token).contiguous()
    return _EVA, _rotary("mixed"), {"rope.freqs": expanded}


def _rotary(kind: str) -> dict[str, Any]:
    return {
        "attn_type": "rope",
        "use_abs_pos_emb": False,
        "use_rot_pos_emb": True,
        "rope_type": kind,
        "rope_grid_indexing": "ij",
        "use_fc_norm": False,
        "use_post_transformer_norm": True,
    }


def _renamed(encoder: TimmEncoder, architecture: str) -> dict[str, Tensor]:
    """The encoder's weights under timm's names, without position encoding and classifier."""
    kept = {name: value for name, value in encoder.state_dict().items() if not name.startswith(("position.", "head."))}
    if architecture == _EVA:
        kept = {re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name): value for name, value in kept.items()}
    return {"cls_token": kept.pop("start_token"), **kept}


def _mask(rank: Tensor) -> Tensor:
    """True where a token (row) reads another (column): itself, those before it in the order, and the start token."""
    rank = torch.cat([rank.new_tensor([-1]), rank])
    return rank[None, :] <= rank[:, None]
