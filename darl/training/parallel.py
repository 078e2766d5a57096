"""Data parallelism: how a run is distributed over workers."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from darl.experiment import Experiment
from darl.variants import require

__all__ = ["Workers", "World", "data_parallel", "microbatch_size", "no_sync"]


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

    def any(self, holds: bool, device: torch.device) -> bool:
        """Whether `holds` is true on any worker; all workers must call it."""
        if self.size == 1:
            return holds
        count = torch.tensor(float(holds), device=device)
        dist.all_reduce(count)
        return bool(count.item())


def data_parallel(model: nn.Module, world: World) -> nn.Module:
    """The model, wrapped in DistributedDataParallel where there are several workers."""
    return DistributedDataParallel(model, broadcast_buffers=False) if world.size > 1 else model


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Within, backward passes accumulate gradients on each worker without averaging. model: from `data_parallel`."""
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
    """Settings of a run that do not change its result: workers, GPUs, checkpoints, compilation."""

    count: int = 1
    gpus: float = 0.0
    """GPUs per worker."""
    retries: int = 3
    """Number of restarts after a fault, each from the last checkpoint."""
    save_every: int = 1000
    """Steps between checkpoints, in addition to those after evaluations."""
    compiled: bool = False
    """Whether to `torch.compile` the model."""

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if self.gpus else "cpu"
