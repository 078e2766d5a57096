"""Prefix attention: an image's first tokens read one another, all others only those before them and themselves.

    token i reads token j    where    j < prefix    or    j <= i

AIM (El-Nouby et al. 2024, arXiv 2401.08541, "Prefix Transformer") pretrains so with a prefix of random length, because
features of a purely causal model suffer when the mask is removed for the task at hand. The images of a batch have
prefixes of different lengths, so there is no one mask; and a mask for each image would be a tensor of batch × tokens ×
tokens.

- On a GPU, torch's flex attention computes it in one kernel, from a score function. (Torch's form for a CPU has no
  gradients.)
- Elsewhere there are two calls of the fused attention for the whole batch: the causal one, and one in which all tokens
  read the prefix. Each token takes the output of the one that is right for it. The second call's mask has
  batch × tokens elements, and the attention's operations are done twice.

Layouts: B batch, H heads, T tokens (the start token counted), D head width.
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["flexible", "prefix_attention", "prefix_mask", "two_calls"]

_NARROWEST = 16
"""Least head width that flex attention's kernels take."""


def prefix_attention(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, prefix_B: Tensor, dropout: float = 0.0) -> Tensor:
    """The attention's output (B, H, T, D).

    Args:
        q_BHTD: queries.
        k_BHTD: keys.
        v_BHTD: values.
        prefix_B: for each image how many tokens read one another, at least 1: 1 is causal attention, T reads all.
        dropout: of the attention weights; flex attention has none, so it is not used with it.

    """
    if q_BHTD.is_cuda and not dropout and q_BHTD.shape[-1] >= _NARROWEST:
        return _compiled()(q_BHTD, k_BHTD, v_BHTD, prefix_B)
    return two_calls(q_BHTD, k_BHTD, v_BHTD, prefix_B, dropout)


def two_calls(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, prefix_B: Tensor, dropout: float = 0.0) -> Tensor:
    """As `prefix_attention`, by two calls of `scaled_dot_product_attention`, on any device."""
    inside_BT = torch.arange(q_BHTD.shape[2], device=prefix_B.device) < prefix_B[:, None]
    causal = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, dropout_p=dropout, is_causal=True)
    within = F.scaled_dot_product_attention(
        q_BHTD, k_BHTD, v_BHTD, attn_mask=inside_BT[:, None, None, :], dropout_p=dropout
    )
    return torch.where(inside_BT[:, None, :, None], within, causal)


def flexible(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, prefix_B: Tensor) -> Tensor:
    """As `prefix_attention`, by flex attention: one kernel when compiled, else a slow form with a tensor of scores."""

    from torch.nn.attention.flex_attention import flex_attention  # here, since it takes seconds to import

    def score(score: Tensor, image: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return torch.where((j < prefix_B[image]) | (j <= i), score, -float("inf"))

    output = flex_attention(q_BHTD, k_BHTD, v_BHTD, score_mod=score)
    assert isinstance(output, Tensor)
    return output


def prefix_mask(prefix_B: Tensor, tokens: int) -> Tensor:
    """(B, 1, T, T), true where the row's token reads the column's: for attention weights that are a tensor anyhow."""
    index = torch.arange(tokens, device=prefix_B.device)
    return ((index[None, :] < prefix_B[:, None, None]) | (index[None, :] <= index[:, None])).unsqueeze(1)


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(flexible, dynamic=False)
