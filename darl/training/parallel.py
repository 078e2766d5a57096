"""Data parallelism: how a run is distributed over workers, and what it does to save memory and time."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from darl.experiment import Experiment
from darl.training.sharding import blocks_of, shard
from darl.variants import require

__all__ = ["PLAIN", "Execution", "Workers", "World", "data_parallel", "microbatch_size", "no_sync"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What a run does to save memory and time. Its result does not depend on it, up to rounding."""

    sharded: bool = False
    """Whether workers share the model's state (`darl.training.sharding`), instead of a copy each; for two or more."""
    gradient_checkpointing: bool = False
    """Whether the blocks' activations are computed again in the backward pass instead of kept (Chen et al. 2016)."""
    compiled: bool = False
    """Whether to `torch.compile` the model, or each of its blocks: see `by_block`."""
    backend: str = "inductor"
    """The backend of `torch.compile`."""

    @property
    def by_block(self) -> bool:
        """Whether each block is compiled for itself, as in torchtitan (`torchtitan/distributed/compile.py`).

        Between the blocks are then the exchanges of a sharded model, and the places from which activations are
        computed again: DDP cannot split a graph that holds these (torch's `DDPOptimizer` refuses it).
        """
        return self.sharded or self.gradient_checkpointing


PLAIN = Execution()
"""None of these."""


@dataclass(frozen=True)
class World:
    """The rank of this process, and the number of workers of its run."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "World":
        """Those of torch.distributed where it is initialised, else rank 0 of 1."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    def rows(self, batch_size: int) -> range:
        """This worker's rows of each global batch; raises UserError where the batch cannot be divided evenly."""
        require(batch_size % self.size == 0, "batch_size", f"be a multiple of the {self.size} workers", batch_size)
        part = batch_size // self.size
        return range(self.rank * part, (self.rank + 1) * part)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over the workers; all workers must call it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the workers; all workers must call it."""
        return self.sum(values) / self.size if self.size > 1 else values

    def largest(self, value: float, device: torch.device) -> float:
        """The largest of the workers' numbers; all workers must call it."""
        if self.size == 1:
            return value
        largest = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.item()

    def any(self, holds: bool, device: torch.device) -> bool:
        """Whether `holds` is true on any worker; all workers must call it."""
        if self.size == 1:
            return holds
        count = torch.tensor(float(holds), device=device)
        dist.all_reduce(count)
        return bool(count.item())


def data_parallel(
    model: nn.Module, world: World, execution: Execution, device: torch.device, *, bfloat16: bool
) -> nn.Module:
    """The model as it is trained: sharded in place, or wrapped in DistributedDataParallel, or compiled, or itself.

    bfloat16: whether it runs under autocast to bfloat16.
    """
    if execution.gradient_checkpointing:
        for module in model.modules():
            if hasattr(module, "grad_checkpointing"):  # timm's name for it
                module.grad_checkpointing = True  # pyright: ignore[reportArgumentType]
    if execution.compiled and execution.by_block:
        for block in blocks_of(model):
            block.compile(backend=execution.backend)
    if execution.sharded:
        require(world.size > 1, "shard", "be given to two or more workers", world.size)
        return shard(model, device, bfloat16=bfloat16)
    if execution.compiled and not execution.by_block:
        model = cast("nn.Module", torch.compile(model, backend=execution.backend))
    return DistributedDataParallel(model, broadcast_buffers=False) if world.size > 1 else model


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Within, backward passes accumulate gradients on each worker without averaging. model: from `data_parallel`.

    Those of a sharded model are averaged all the same: unaveraged ones would be whole on each worker.
    """
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def microbatch_size(experiment: Experiment, workers: int) -> int:
    """Images per micro-batch of a worker; raises UserError where a batch cannot be divided evenly."""
    images, tuning = len(World(size=workers).rows(experiment.batch_size)), experiment.finetuning
    pairs = tuning is not None and tuning.mixes
    remedy = "leave each worker an even number of images: Mixup and CutMix take pairs"
    require(not pairs or images % 2 == 0, "batch_size", remedy, experiment.batch_size)
    remedy = f"divide a worker's {images} images of each batch"
    require(images % experiment.accumulate == 0, "accumulate", remedy, experiment.accumulate)
    return images // experiment.accumulate


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Settings of a run that do not change its result: workers, GPUs, checkpoints, sharding, compilation.

    Raises UserError where they do not fit together.
    """

    count: int = 1
    gpus: float = 0.0
    """GPUs per worker."""
    retries: int = 3
    """Number of restarts after a fault, each from the last checkpoint."""
    save_every: int = 1000
    """Steps between checkpoints, in addition to those after evaluations."""
    execution: Execution = PLAIN
    """Sharding, gradient checkpointing, compilation."""

    def __post_init__(self) -> None:
        fits = self.count > 1 or not self.execution.sharded
        require(fits, "shard", "be given with two or more workers, which share the model's state", self.count)
        whole = not 0 < self.gpus < 1 or not self.execution.sharded
        require(whole, "gpus_per_worker", "be a whole number where the model is sharded", self.gpus)

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if self.gpus else "cpu"
