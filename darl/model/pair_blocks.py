"""The patch decoders' Transformer blocks, which read a pair of tokens and update the second one.

The pair is the context z (the trunk's output for a patch) and y, which is the embedded noisy patch in the diffusion
decoder and a learned vector in MSE's. Only y's output is read, and z stays the same from block to block. So each block
computes one query, y's, over two keys. The context's keys and values do not depend on y: they are computed once for any
number of noise levels or sampling steps.

Layouts: B batch, N patches, W width, H heads, D head width.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from darl.model.encoder_config import EncoderConfig

__all__ = ["PairBlocks", "pair_block_flops"]

KeyValue = tuple[Tensor, Tensor]


def pair_block_flops(size: EncoderConfig) -> float:
    """Floating-point operations of the forward pass's matrix products of a block for one pair.

    6W² (q, k, v of y) + 4W² (k, v of z) + 2W² (out) + 4rW² (MLP of ratio r). The attention itself is over two keys and
    has no matrix product.
    """
    return (12 + 4 * size.mlp_ratio) * size.width**2


class PairBlocks(nn.ModuleList):
    """`depth` blocks, one after another, without a norm after the last."""

    def __init__(self, size: EncoderConfig, depth: int):
        super().__init__(PairBlock(size.width, size.heads, size.mlp_ratio) for _ in range(depth))
        self.grad_checkpointing = False

    def prepare(self, context: Tensor) -> list[KeyValue]:
        """Each block's keys and values of the context (B, N, W)."""
        return [cast("PairBlock", block).context_key_value(context) for block in self]

    def forward(self, x: Tensor, prepared: list[KeyValue]) -> Tensor:
        """y (B, N, W) through all blocks."""
        for block, (k, v) in zip(self, prepared, strict=True):
            if self.grad_checkpointing and self.training:
                x = checkpoint(block, x, k, v, use_reentrant=False)
            else:
                x = block(x, k, v)
        return x


class PairBlock(nn.Module):
    """A pre-norm Transformer block that reads a pair (z, y) of tokens and updates y.

    A softmax over two scores is a sigmoid of their difference: attention is v_y + sigmoid(q·(k_z - k_y)) (v_z - v_y).
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        from timm.layers import Mlp  # here, since configs import this module and are built without timm

        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def context_key_value(self, context_BNW: Tensor) -> KeyValue:
        """Keys and values (B, N, H, D) of the context tokens."""
        width = context_BNW.shape[-1]
        kv = F.linear(self.norm1(context_BNW), self.qkv.weight[width:], self.qkv.bias[width:])
        k_BNHD, v_BNHD = kv.unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return k_BNHD, v_BNHD

    def forward(self, x_BNW: Tensor, context_k_BNHD: Tensor, context_v_BNHD: Tensor) -> Tensor:
        """y (B, N, W) after attention over the pair and the MLP."""
        q, k, v = self.qkv(self.norm1(x_BNW)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        to_context = torch.sigmoid((q * (context_k_BNHD - k)).sum(-1, keepdim=True) * self.scale)
        attended = torch.lerp(v, context_v_BNHD, to_context.to(v.dtype).expand_as(v))
        x_BNW = x_BNW + self.proj(attended.flatten(-2))
        return x_BNW + self.mlp(self.norm2(x_BNW))
