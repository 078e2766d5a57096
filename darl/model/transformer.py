"""The trunk's Transformer block: timm's ViT block with rotary positions and a causal mask that is never a tensor.

Its forward pass is written so that `torch.jit.script` compiles it and `torch.fx` traces it, as timm's blocks are.

Layouts: B batch, T tokens, W width, C the three of query, key and value, H heads, D head width.
"""

import torch
import torch.nn.functional as F
from timm.layers import DropPath, LayerScale, Mlp, SwiGLU, apply_rot_embed_cat, use_fused_attn
from torch import Tensor, nn

from darl.model.prefix_attention import prefix_attention, prefix_mask

__all__ = ["Attention", "Block", "Reading", "apply_rotary"]

KeyValue = tuple[Tensor, Tensor]


@torch.fx.wrap
def apply_rotary(qkv_BTCHD: Tensor, table: Tensor) -> Tensor:
    """Rotate pairs of channels by timm's rotary table (T, 3 or 1, 1, 2D); a table per image has a batch axis in front.

    Outside of `torch.compile` and in a dtype that has complex numbers, pairs are rotated as complex numbers: measured
    four times faster on a CPU than the general form. The backward pass does not need qkv, so rotating all three in
    one tensor (v by angle 0) takes less memory than keeping queries and keys both raw and rotated.
    """
    if not torch.jit.is_scripting():  # noqa: SIM102  (TorchScript leaves the body out only where this stands alone)
        if qkv_BTCHD.dtype in (torch.float32, torch.float64) and not torch.compiler.is_compiling():
            sine, cosine = (half[..., ::2] for half in table.to(qkv_BTCHD.dtype).chunk(2, -1))
            pairs = torch.view_as_complex(qkv_BTCHD.unflatten(-1, (-1, 2)))
            return torch.view_as_real(pairs * torch.complex(cosine, sine)).flatten(-2)
    return apply_rot_embed_cat(qkv_BTCHD, table).to(qkv_BTCHD.dtype)  # older timm returns the table's dtype


class Reading(nn.Module):
    """How the blocks of a trunk read where a call does not say; all blocks share one, so it moves with any of them."""

    rotation: Tensor | None
    """The rotary table of the trunk's own grid; None where positions are not rotary."""

    def __init__(self, causal: bool):
        super().__init__()
        self.causal = causal
        self.register_buffer("rotation", None, persistent=False)


class Attention(nn.Module):
    """Multi-head self-attention, causal or masked, with rotary positions and an optional cache of keys and values.

    As in timm's, attention weights are a tensor of their own only after `timm.layers.set_fused_attn(False)`; what reads
    them (`timm.utils.AttentionExtract`) needs that before the model is created.
    """

    def __init__(
        self, width: int, heads: int, attn_drop: float = 0.0, proj_drop: float = 0.0, *, qk_norm: bool = False
    ):
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.scale = (width // heads) ** -0.5
        self.fused_attn = use_fused_attn() > 0
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // heads, eps=1e-6) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(width // heads, eps=1e-6) if qk_norm else nn.Identity()
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(
        self,
        x_BTW: Tensor,
        table: Tensor | None,
        causal: bool,
        mask: Tensor | None = None,
        prefix: Tensor | None = None,
        streams: bool = False,
    ) -> Tensor:
        """The output (B, T, W).

        Args:
            x_BTW: tokens.
            table: sines and cosines for `apply_rotary`; None for no rotation.
            causal: whether a token reads only itself and those before it.
            mask: true where a row's token reads a column's; excludes `causal`.
            prefix: (B), how many tokens of each image read one another; in the place of `causal` and `mask`.
            streams: whether the tokens are two streams: see `Trunk.trunk`; in the place of `causal` and `mask`.

        """
        q_BHTD, k_BHTD, v_BHTD = self._project(x_BTW, table).unbind(0)
        if streams:
            return self._attend_streams(q_BHTD, k_BHTD, v_BHTD)
        if prefix is not None:
            return self._attend_prefix(q_BHTD, k_BHTD, v_BHTD, prefix)
        return self._attend(q_BHTD, k_BHTD, v_BHTD, causal, mask)

    @torch.jit.unused
    def extend(self, x_BTW: Tensor, table: Tensor | None, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """The causal output, and the keys and values (B, H, T, D) of all tokens read so far; `past`: those before."""
        q_BHTD, k_BHTD, v_BHTD = self._project(x_BTW, table).unbind(0)
        if past is not None:
            k_BHTD, v_BHTD = torch.cat([past[0], k_BHTD], 2), torch.cat([past[1], v_BHTD], 2)
        return self._attend(q_BHTD, k_BHTD, v_BHTD, past is None, None), (k_BHTD, v_BHTD)

    def _project(self, x_BTW: Tensor, table: Tensor | None) -> Tensor:
        """Queries, keys and values (3, B, H, T, D)."""
        qkv_BTCHD = self.qkv(x_BTW).unflatten(-1, (3, self.heads, -1))
        if self.qk_norm:
            q_BTHD, k_BTHD, v_BTHD = qkv_BTCHD.unbind(2)
            q_BTHD = self.q_norm(q_BTHD).to(v_BTHD.dtype)  # autocast makes it float32
            k_BTHD = self.k_norm(k_BTHD).to(v_BTHD.dtype)
            qkv_BTCHD = torch.stack([q_BTHD, k_BTHD, v_BTHD], dim=2)
        if table is not None:
            qkv_BTCHD = apply_rotary(qkv_BTCHD, table)
        return qkv_BTCHD.permute(2, 0, 3, 1, 4)

    @torch.jit.unused
    def _attend_prefix(self, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, prefix: Tensor) -> Tensor:
        if not self.fused_attn:
            return self._attend(q_BHTD, k_BHTD, v_BHTD, False, prefix_mask(prefix, q_BHTD.shape[2]))
        dropped = self.attn_drop.p if self.training else 0.0
        x_BHTD = prefix_attention(q_BHTD, k_BHTD, v_BHTD, prefix, dropped)
        return self.proj_drop(self.proj(x_BHTD.transpose(1, 2).flatten(2)))

    @torch.jit.unused
    def _attend_streams(self, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> Tensor:
        """Both halves of the queries read the first half's keys and values causally."""
        k_BHTD, v_BHTD = k_BHTD.chunk(2, 2)[0], v_BHTD.chunk(2, 2)[0]
        return torch.cat([self._attend(half, k_BHTD, v_BHTD, True, None) for half in q_BHTD.chunk(2, 2)], 1)

    def _attend(self, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, causal: bool, mask: Tensor | None) -> Tensor:
        if self.fused_attn:
            dropped = self.attn_drop.p if self.training else 0.0
            x_BHTD = F.scaled_dot_product_attention(
                q_BHTD, k_BHTD, v_BHTD, attn_mask=mask, dropout_p=dropped, is_causal=causal
            )
        else:
            scores_BHTT = (q_BHTD * self.scale) @ k_BHTD.transpose(-2, -1)
            if causal:
                scores_BHTT = scores_BHTT + torch.full_like(scores_BHTT[0, 0], float("-inf")).triu(1)
            if mask is not None:
                scores_BHTT = scores_BHTT.masked_fill(~mask, float("-inf"))
            x_BHTD = self.attn_drop(scores_BHTT.softmax(dim=-1)) @ v_BHTD
        return self.proj_drop(self.proj(x_BHTD.transpose(1, 2).flatten(2)))


class Block(nn.Module):
    """A pre-norm Transformer block, as in timm's ViT, with the same parameters under the same names.

    mlp_width: hidden channels of the MLP. qk_norm, init_values, swiglu: see `darl.model.encoder_config.EncoderConfig`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        reading: Reading,
        drop_path: float = 0.0,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        *,
        qk_norm: bool = False,
        init_values: float | None = None,
        swiglu: bool = False,
    ):
        super().__init__()
        self.reading = reading
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, attn_drop, proj_drop, qk_norm=qk_norm)
        self.ls1 = LayerScale(width, init_values) if init_values else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = (SwiGLU if swiglu else Mlp)(width, mlp_width, drop=proj_drop)
        self.ls2 = LayerScale(width, init_values) if init_values else nn.Identity()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self,
        x_BTW: Tensor,
        table: Tensor | None = None,
        causal: bool | None = None,
        mask: Tensor | None = None,
        prefix: Tensor | None = None,
        streams: bool = False,
    ) -> Tensor:
        """As `Attention.forward`, with the residual connections, norms and MLP of a block.

        Without `table` and `causal`, tokens are read as the trunk reads its own grid: [start, patches in order].
        """
        rotation = self.reading.rotation
        if table is None and rotation is not None:
            table = rotation[: x_BTW.shape[1]]
        if causal is None:
            causal = mask is None and self.reading.causal
        x_BTW = x_BTW + self.drop_path(self.ls1(self.attn(self.norm1(x_BTW), table, causal, mask, prefix, streams)))
        return x_BTW + self.drop_path(self.ls2(self.mlp(self.norm2(x_BTW))))

    @torch.jit.unused
    def extend(self, x_BTW: Tensor, table: Tensor | None, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """As `Attention.extend`, likewise."""
        attended, key_value = self.attn.extend(self.norm1(x_BTW), table, past)
        x_BTW = x_BTW + self.drop_path(self.ls1(attended))
        return x_BTW + self.drop_path(self.ls2(self.mlp(self.norm2(x_BTW)))), key_value
