"""How a run is spread out over workers."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from darl.experiment import Experiment
from darl.variants import require

__all__ = ["Workers", "World", "over_workers", "without_averaging", "worker_part"]


@dataclass(frozen=True)
class World:
    """This process among the workers of a run."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "World":
        """torch.distributed's, or one process by itself."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    def rows(self, batch_size: int) -> range:
        """This worker's rows of each global batch; raises UserError where the batch cannot be shared out evenly."""
        require(batch_size % self.size == 0, "batch_size", f"be a multiple of the {self.size} workers", batch_size)
        part = batch_size // self.size
        return range(self.rank * part, (self.rank + 1) * part)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the workers; every worker must ask."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def any(self, holds: bool, device: torch.device) -> bool:
        """Whether it holds for any worker; every worker must ask."""
        if self.size == 1:
            return holds
        count = torch.tensor(float(holds), device=device)
        dist.all_reduce(count)
        return bool(count.item())


def over_workers(model: nn.Module, world: World) -> nn.Module:
    """The model, whose gradients are averaged over the workers where there are several."""
    return DistributedDataParallel(model, broadcast_buffers=False) if world.size > 1 else model


def without_averaging(model: nn.Module) -> AbstractContextManager[None]:
    """Within, backward passes of a model of `over_workers` add up gradients on each worker by itself."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def worker_part(experiment: Experiment, workers: int) -> int:
    """Images of each pass of a worker; raises UserError where a batch cannot be cut so."""
    images = len(World(size=workers).rows(experiment.batch_size))
    remedy = f"divide a worker's {images} images of each batch"
    require(images % experiment.accumulate == 0, "accumulate", remedy, experiment.accumulate)
    return images // experiment.accumulate


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How a run is spread out."""

    count: int = 1
    gpus: float = 0.0
    """Per worker."""
    retries: int = 3
    """Starts after a fault, each from the last checkpoint."""
    save_every: int = 1000
    """Steps between checkpoints, beside those after evaluations."""
    compiled: bool = False

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if self.gpus else "cpu"
