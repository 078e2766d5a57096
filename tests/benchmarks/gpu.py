"""Training on a GPU: images per second, and how much of a bare matrix product's rate the model's own products reach."""

import statistics

import torch

import darl
from darl.model.encoder_config import SIZES
from tests.benchmarks.steps import Vit, our_optimizer, peer_optimizer, training_step
from tests.benchmarks.timing import Clock, Ratio, Row, Step, cuda_seconds, turns

__all__ = ["gpu_rows"]

PRODUCTS = 20
"""Matrix products timed together, so that launching the first weighs nothing."""


def matrix_products(side: int, device: torch.device) -> Step:
    """`PRODUCTS` products of square bfloat16 matrices, 2 side³ operations each."""
    left, right = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    out = torch.empty_like(left)

    def step() -> None:
        for _ in range(PRODUCTS):
            torch.mm(left, right, out=out)

    return step


def gpu_rows(
    rounds: int,
    *,
    device: str = "cuda",
    clock: Clock = cuda_seconds,
    size: str = "base",
    image_size: int = 224,
    batch: int = 128,
    side: int = 8192,
) -> list[Row]:
    """MSE, diffusion and timm under bfloat16 autocast, and the bare product, all in turns.

    A training step is taken as three forward passes' products (`Darl.flops`: attention counted whole).
    """
    images = torch.randn(batch, 3, image_size, image_size, device=device)
    models = {kind: darl.create_model(size, image_size=image_size, objective=kind) for kind in ("mse", "diffusion")}
    steps = [training_step(model.to(device), our_optimizer(model), images, bfloat16=True) for model in models.values()]
    vit = Vit(SIZES[size], image_size).to(device)
    steps += [training_step(vit, peer_optimizer(vit), images, bfloat16=True)]
    steps += [matrix_products(side, torch.device(device))]
    mse, diffusion, timm, bare = (list(seconds) for seconds in zip(*turns(steps, rounds, clock), strict=True))
    rate = PRODUCTS * 2 * side**3 / statistics.median(bare)
    rows = []
    for (kind, model), seconds in zip(models.items(), (mse, diffusion), strict=True):
        name = f"GPU: {kind}, {size}, {image_size} px, batch {batch}, bfloat16"
        ratio = Ratio.of(seconds, timm, [ours / peer for ours, peer in zip(seconds, timm, strict=True)])
        speeds = [f"{batch / taken:.0f} images/s" for taken in (ratio.ours, ratio.peer)]
        rows.append(Row(f"{name}: step / timm", *speeds, ratio.median, (ratio.low, ratio.high)))
        reached = [3 * model.flops() * batch / taken for taken in seconds]
        part = Ratio.of(reached, bare, [flops / rate for flops in reached])
        shown = [f"{flops / 1e12:.1f} TFLOP/s" for flops in (part.ours, rate)]
        rows.append(Row(f"{name}: of a bare {side}³ product's rate", *shown, part.median, (part.low, part.high)))
    return rows
