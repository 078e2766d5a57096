"""Is DARL as fast and as lean as a plain ViT? Side by side with its peers, in one run.

    python -m tests.benchmarks.speed                        # about 6 minutes of one core
    python -m tests.benchmarks.speed --only step-base augment --rounds 21

Everything is timed in turns (ours, peer, ours, peer …) in one thread, by CPU time; a row's value is the median of the
rounds' ratios. With a CUDA device there are rows for it too, by its own clock. Exit code 1 where a bound does not hold.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import darl
from darl.model.encoder_config import SIZES
from tests.benchmarks.augmentation import our_batch, torchvision_batch
from tests.benchmarks.drawing import cached, recomputed
from tests.benchmarks.gpu import gpu_rows
from tests.benchmarks.steps import Vit, our_optimizer, peer_optimizer, training_step
from tests.benchmarks.timing import Ratio, Row, cpu_seconds, side_by_side
from tests.model.saved_memory import bytes_per_token_and_layer, square_tensors

Measurement = Callable[[int], list[Row]]


def mse_step(size: str, image_size: int, batch: int, bound: float, repeats: int, rounds: int) -> list[Row]:
    """Forward, backward and fused AdamW of the MSE objective, and of timm's ViT with as many tokens.

    `repeats` times as many rounds: the smaller the step, the more a neighbour on a shared core moves its ratio.
    """
    images = torch.randn(batch, 3, image_size, image_size)
    ours = darl.create_model(size, image_size=image_size, objective="mse")
    peer = Vit(SIZES[size], image_size)
    ratio = side_by_side(
        training_step(ours, our_optimizer(ours), images),
        training_step(peer, peer_optimizer(peer), images),
        repeats * rounds,
        cpu_seconds,
    )
    return [step_row(f"MSE step / timm ViT, {size}, {image_size} px, batch {batch}", ratio, bound)]


def diffusion_step(size: str, image_size: int, batch: int, bound: float, rounds: int) -> list[Row]:
    """The same of the diffusion objective, its draws of gamma and noise among it, and of the MSE objective."""
    images = torch.randn(batch, 3, image_size, image_size)
    ours, peer = (darl.create_model(size, image_size=image_size, objective=kind) for kind in ("diffusion", "mse"))
    # One trunk and one optimiser for both, which passes over the decoder without gradients: half the memory.
    peer.encoder = ours.encoder
    optimizer = our_optimizer(nn.ModuleList([ours, peer]))
    steps = [training_step(model, optimizer, images) for model in (ours, peer)]
    ratio = side_by_side(*steps, rounds, cpu_seconds)
    return [step_row(f"diffusion step / MSE step, {size}, {image_size} px, batch {batch}", ratio, bound)]


def step_row(name: str, ratio: Ratio, bound: float) -> Row:
    """A row of a ratio of seconds, of which little is good."""
    return Row(name, f"{ratio.ours:.3f} s", f"{ratio.peer:.3f} s", ratio.median, (ratio.low, ratio.high), bound)


def augmentation(images: int, size: int, bound: float, rounds: int) -> list[Row]:
    """How many times as fast as torchvision's transforms a whole batch is augmented at once."""
    ratio = side_by_side(torchvision_batch(images, size), our_batch(images, size), rounds, cpu_seconds)
    name = f"torchvision per sample / whole batch augmented, {size} px, batch {images}"
    each = [f"{1e6 * seconds / images:.0f} µs/image" for seconds in (ratio.peer, ratio.ours)]
    return [Row(name, *each, ratio.median, (ratio.low, ratio.high), bound, at_least=True)]


def drawing(size: str, images: int, bound: float, rounds: int) -> list[Row]:
    """How many times as fast images of 196 patches are drawn as with the prefix recomputed for each patch.

    By MSE, whose decoder is one linear map, so that the trunk is nearly all of it. A quarter of the rounds.
    """
    model = darl.create_model(size, image_size=224, objective="mse").eval()
    ours, peer = cached(model, images), recomputed(model, images)
    torch.testing.assert_close(ours(), peer(), rtol=1e-3, atol=1e-4)
    ratio = side_by_side(peer, ours, max(2, rounds // 4), cpu_seconds)
    name = f"prefix recomputed / cached, {size}, {images} images of {len(model.order)} patches"
    each = [f"{seconds:.2f} s" for seconds in (ratio.peer, ratio.ours)]
    return [Row(name, *each, ratio.median, (ratio.low, ratio.high), bound, at_least=True)]


def optimizer(_rounds: int) -> list[Row]:
    """Whether AdamW is fused in every group of parameters."""
    groups = our_optimizer(darl.create_model("nano", image_size=32, patch_size=4)).param_groups
    slow = sum(not group["fused"] for group in groups)
    return [Row("parameter groups without fused AdamW", f"{slow} of {len(groups)}", "", slow, bound=0)]


def memory(_rounds: int) -> list[Row]:
    """What is kept for the backward pass."""
    kept, width = bytes_per_token_and_layer()
    squares = len(square_tensors("mse")) + len(square_tensors("diffusion"))
    return [
        Row("bytes saved per token and layer, bfloat16, / width", f"{kept:.0f} / {width}", "", kept / width, bound=38),
        Row("tensors of N × N saved, MSE and diffusion", f"{squares}", "", squares, bound=0),
    ]


MEASUREMENTS: dict[str, Measurement] = {
    "step-tiny": partial(mse_step, "tiny", 224, 2, 1.05, 4),
    "step-small": partial(mse_step, "small", 224, 1, 1.05, 3),
    "step-base": partial(mse_step, "base", 224, 1, 1.05, 2),
    "diffusion-base": partial(diffusion_step, "base", 224, 1, 1.20),
    "diffusion-large": partial(diffusion_step, "large", 112, 2, 1.12),
    "augment": partial(augmentation, 256, 32, 8.0),
    "generate": partial(drawing, "nano", 16, 6.0),
    "optimizer": optimizer,
    "memory": memory,
    "gpu": gpu_rows,
}


def table_of(rows: list[Row]) -> Table:
    """For people."""
    table = Table(title=f"torch {torch.__version__}, medians over rounds in turns")
    table.add_column("measured", overflow="fold")
    for column in ("ours", "peer", "value", "quartiles", "bound", "holds"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        quartiles = "" if row.quartiles is None else "{:.3f} – {:.3f}".format(*row.quartiles)
        bound = "" if row.bound is None else f"{'≥' if row.at_least else '≤'} {row.bound:g}"
        holds = {None: "", True: "yes", False: "[red]no"}[row.holds]
        table.add_row(row.name, row.ours, row.peer, f"{row.value:.3f}", quartiles, bound, holds)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=11, help="after two of warm-up; quick steps take more (default 11)"
    )
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {options.rounds}")
    cuda = torch.cuda.is_available()
    if "gpu" in (options.only or []) and not cuda:
        parser.error("--only gpu needs a CUDA device, and torch sees none")
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 160)
    rows = []
    for name in options.only or [name for name in MEASUREMENTS if cuda or name != "gpu"]:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += MEASUREMENTS[name](options.rounds)
    console.print(table_of(rows))
    return int(any(row.holds is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
