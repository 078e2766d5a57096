"""What autograd keeps for the backward pass: measured, for the tests and for the benchmarks."""

from collections.abc import Callable

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import darl
from darl.model.encoder_config import EncoderConfig

__all__ = ["TOKENS", "Shape", "bytes_per_token_and_layer", "saved", "square_tensors"]

TOKENS = 256
WIDTH = 128
BATCH = 2

Shape = tuple[int, ...]


def saved(forward: Callable[[], object], module: nn.Module) -> list[tuple[int, Shape]]:
    """Bytes and shape of all that `forward` leaves for the backward pass; each storage once, parameters not."""
    parameters = {p.untyped_storage().data_ptr() for p in [*module.parameters(), *module.buffers()]}
    kept: dict[int, tuple[int, Shape]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = (storage.nbytes(), tuple(tensor.shape))
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return list(kept.values())


def bytes_per_token_and_layer() -> tuple[float, int]:
    """Saved by a block of the trunk under bfloat16 autocast for each token; and the width.

    By the difference of two depths, so that what is kept once for all blocks does not count.
    """
    depths, kept = (2, 6), []
    for depth in depths:
        encoder = darl.create_model(_size(depth), image_size=32, channels=1).encoder
        tokens = torch.randn(BATCH, TOKENS - 1, WIDTH, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            parts = saved(lambda encoder=encoder, tokens=tokens: encoder.trunk(tokens, encoder.grid), encoder)
        kept.append(sum(size for size, _ in parts))
    weights = 12 * WIDTH * WIDTH * 2  # autocast's bfloat16 copies of a block's weights
    return ((kept[1] - kept[0]) / (depths[1] - depths[0]) - weights) / (BATCH * TOKENS), WIDTH


def square_tensors(objective: str, **options: str) -> list[Shape]:
    """Saved tensors of shape tokens × tokens (scores or a mask) in a whole training loss."""
    model = darl.create_model(_size(depth=2), image_size=32, channels=1, objective=objective, **options)
    images = torch.randn(BATCH, 1, 32, 32)
    shapes = [shape for _, shape in saved(lambda: model(images)["loss"], model)]
    return [shape for shape in shapes if shape[-2:] == (TOKENS, TOKENS)]


def _size(depth: int) -> EncoderConfig:
    return EncoderConfig(width=WIDTH, depth=depth, heads=2, patch_size=2)
