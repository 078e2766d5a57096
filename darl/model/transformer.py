"""The trunk's Transformer block: timm's ViT block with rotary positions and a causal mask that is never a tensor.

Layouts: B batch, T tokens, W width, C the three of query, key and value, H heads, D head width.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp, apply_rot_embed_cat
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Attention", "Block", "apply_rotary"]


def apply_rotary(qkv_BTCHD: Tensor, table: "Float[Tensor, 'tokens 1 1 two_head_width']") -> Tensor:
    """Rotate pairs of channels by timm's rotary table; a table per image has a batch axis in front.

    Outside of `torch.compile` and in a dtype that has complex numbers, pairs are rotated as complex numbers: measured
    four times faster on a CPU than the general form. The backward pass does not need qkv, so rotating all three in
    one tensor (v by angle 0) takes less memory than keeping queries and keys both raw and rotated.
    """
    if qkv_BTCHD.dtype in (torch.float32, torch.float64) and not torch.compiler.is_compiling():
        sine, cosine = (half[..., ::2] for half in table.to(qkv_BTCHD.dtype).chunk(2, -1))
        pairs = torch.view_as_complex(qkv_BTCHD.unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * torch.complex(cosine, sine)).flatten(-2)
    return apply_rot_embed_cat(qkv_BTCHD, table).to(qkv_BTCHD.dtype)  # older timm returns the table's dtype


class Attention(nn.Module):
    """Multi-head self-attention, causal or masked, with rotary positions and an optional cache of keys and values."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x_BTW: Tensor,
        table: Tensor | None,
        causal: bool,
        past: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The output (B, T, W), and the keys and values (B, H, T, D) of all tokens read so far.

        Args:
            x_BTW: tokens.
            table: sines and cosines for `apply_rotary`; None for no rotation.
            causal: whether a token reads only itself and those before it.
            past: keys and values of tokens read before these.
            mask: true where a row's token reads a column's; excludes `causal`.

        """
        qkv_BTCHD = self.qkv(x_BTW).unflatten(-1, (3, self.heads, -1))
        if table is not None:
            qkv_BTCHD = apply_rotary(qkv_BTCHD, table)
        q_BHTD, k_BHTD, v_BHTD = qkv_BTCHD.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            k_BHTD, v_BHTD = torch.cat([past[0], k_BHTD], 2), torch.cat([past[1], v_BHTD], 2)
        x_BHTD = F.scaled_dot_product_attention(
            q_BHTD, k_BHTD, v_BHTD, attn_mask=mask, is_causal=causal and past is None
        )
        return self.proj(x_BHTD.transpose(1, 2).flatten(2)), (k_BHTD, v_BHTD)


class Block(nn.Module):
    """A pre-norm Transformer block, as in timm's ViT."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self,
        x_BTW: Tensor,
        table: Tensor | None,
        causal: bool,
        past: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `Attention.forward`, with the residual connections, norms and MLP of a block."""
        attended, key_value = self.attn(self.norm1(x_BTW), table, causal, past, mask)
        x_BTW = x_BTW + self.drop_path(attended)
        return x_BTW + self.drop_path(self.mlp(self.norm2(x_BTW))), key_value
