"""What a run costs, told before it starts: steps, operations, GPU-hours, and the memory of a worker's state."""

from collections.abc import Iterator
from dataclasses import dataclass

from darl.data import steps_per_epoch
from darl.data.content import DataContent
from darl.experiment import Experiment
from darl.training.memory import gibibytes
from darl.training.parallel import Workers

__all__ = ["IMAGENET", "PAPER", "forecast", "in_gpu_hours"]

PAPER = "paper"
"""The recipe that is for ImageNet."""

IMAGENET = DataContent(train=1_281_167, validation=50_000, classes=1000, fingerprint="unknown")
"""ImageNet-1k, of which nothing is opened."""


@dataclass(frozen=True, kw_only=True)
class _Gpu:
    """A GPU, and the share of its peak rate that a training is assumed to reach."""

    name: str
    peak: float
    """Floating-point operations per second in bfloat16, dense, by its maker's data sheet."""
    utilisation: float

    @property
    def hourly(self) -> float:
        """Floating-point operations in an hour."""
        return 3600 * self.peak * self.utilisation


_GPU = _Gpu(name="H100 SXM", peak=989e12, utilisation=0.35)

_BYTES = 16
"""Of a parameter, its gradient and AdamW's two moments, in float32."""


def in_gpu_hours(flops: float) -> str:
    """The cost of floating-point operations in words."""
    return (
        f"{flops / _GPU.hourly:,.2g} GPU-hours on {_GPU.name} ({_GPU.peak / 1e12:.0f} TFLOP/s in bfloat16), if it "
        f"reaches {_GPU.utilisation:.0%} of its peak rate (assumed, not measured)"
    )


def forecast(experiment: Experiment, images: int, workers: Workers) -> Iterator[str]:
    """Lines on what a pretraining of `images` training images costs, without its evaluations and its reading of images.

    experiment: with the content of its data where it learns from labels, whose number of classes the model needs.

    Raises UserError where the batch does not fit the images.
    """
    from darl.results.rows import image_flops

    steps = steps_per_epoch(images, experiment.batch_size) * experiment.epochs
    passes = 4 if workers.execution.gradient_checkpointing else 3  # backward is two, and one is repeated
    flops = passes * image_flops(experiment) * steps * experiment.batch_size
    parameters, size = _parameters(experiment), experiment.model
    yield (
        f"a model of {parameters / 1e6:,.1f} M parameters (width {size.width}, depth {size.depth}, patches of "
        f"{size.patch_size} in {experiment.image_size} pixels)"
    )
    yield (
        f"{experiment.epochs:,} epochs of {images:,} images: {steps:,} steps of {experiment.batch_size:,} images, of "
        f"these {experiment.optim.warmup * experiment.epochs:.3g} epochs of warm-up; {flops / 1e18:,.3g} EFLOPs"
    )
    gpus = workers.count * workers.gpus
    days = f"; on {gpus:g} of them {flops / _GPU.hourly / gpus / 24:,.2g} days" if gpus > 1 else ""
    yield f"estimated cost: {in_gpu_hours(flops)}{days}"
    yield _memory(parameters, experiment, workers)


def _memory(parameters: int, experiment: Experiment, workers: Workers) -> str:
    kept = parameters * (_BYTES + (4 if experiment.optim.ema else 0))
    own = kept / workers.count if workers.execution.sharded else kept
    what = "weights, gradients, AdamW's moments" + (" and moving average" if experiment.optim.ema else "")
    other = "" if workers.execution.sharded else "; with --shard it is divided by the number of workers"
    images = experiment.batch_size // workers.count // experiment.accumulate
    return (
        f"{gibibytes(own)} a worker for {what}{other}. Activations, of {images:,} images at a time, come on top: "
        "--accumulate makes these fewer, --gradient-checkpointing keeps less of each"
    )


def _parameters(experiment: Experiment) -> int:
    """The number of parameters; the model is built without its weights."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in experiment.build().parameters())
