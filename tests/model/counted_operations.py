"""How many floating-point operations torch counts in a forward pass."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["counted_operations"]


def counted_operations(model: nn.Module, *inputs: object) -> int:
    """Attention in its plain form: torch 2.11 does not count the fused kernel of the CPU."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(*inputs)
    return counter.get_total_flops()
