"""How the encoder's tables are made: the patch order as a permutation, outside of whatever mode is in force."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from darl.model.orders import Order, inverse
from darl.model.patches import Grid

__all__ = ["ordinary_tensors", "permutation"]


@contextmanager
def ordinary_tensors() -> Generator[None]:
    """Within, new tensors are ordinary ones on the CPU, whatever mode, default device or autocast is in force.

    Tables that are made inside of `torch.inference_mode` or `torch.device("meta")` would serve in no other context.
    """
    if torch.compiler.is_compiling():  # the tables are made by the compiled graph, for this call only
        yield
        return
    with torch.inference_mode(False), torch.device("cpu"), torch.autocast("cpu", enabled=False):
        yield


def permutation(order: Order, grid: Grid) -> tuple[Tensor, Tensor]:
    """The order as a permutation of raster indices, and its inverse, on the CPU: new tensors at every call."""
    with ordinary_tensors():
        indices = order.permutation(*grid)
        return indices, inverse(indices)
