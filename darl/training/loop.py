"""The optimiser step: gradient accumulation, autocast, clipping, AdamW, moving average of the weights.

The loop knows neither data nor objective: it is given a loss function for each micro-batch. Losses stay on the
device until several are read together, since reading one waits for the GPU.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from darl.optim import Optimizer, build_optimizer, build_schedule
from darl.training.events import Stepped
from darl.training.parallel import Execution, World, data_parallel, no_sync
from darl.training.sharding import shard

__all__ = ["Loop", "MicrobatchLoss", "NonFiniteLossError", "autocast_to"]

MicrobatchLoss = Callable[[nn.Module], Tensor]
"""model → scalar loss of one micro-batch; the model is wrapped for several workers (`data_parallel`)."""

_READ_EVERY = 20
"""Number of steps on a GPU after which their losses are read."""


class NonFiniteLossError(ArithmeticError):
    """The loss of a step is not finite. No checkpoint has been saved since that step."""


def is_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether models run in bfloat16, by autocast: precision bfloat16, or auto on a GPU; else float32."""
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def autocast_to(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Within, models run in this precision: see `is_bfloat16`."""
    return torch.autocast(device.type, torch.bfloat16) if is_bfloat16(precision, device) else nullcontext()


class Loop:
    """A model in training: its optimiser, its learning-rate schedule and its moving average.

    Args:
        model: the model, already on `device`; on the CPU where it is to be sharded.
        config: the optimiser's settings.
        learning_rate: peak of the learning-rate schedule.
        steps: optimiser steps of the whole run, for the learning-rate schedule.
        steps_per_epoch: for the epoch in the events.
        device: the device to train on.
        world: the run's workers.
        precision: float32, bfloat16 (autocast), or auto: bfloat16 on a GPU.
        execution: sharding, gradient checkpointing, compilation.
        layer_decay: see `darl.optim.build_optimizer`.

    """

    def __init__(
        self,
        model: nn.Module,
        config: Optimizer,
        *,
        learning_rate: float,
        steps: int,
        steps_per_epoch: int,
        device: torch.device,
        world: World,
        precision: str,
        execution: Execution,
        layer_decay: float | None = None,
    ):
        self.model, self.config, self.device, self.world = model, config, device, world
        self.steps_per_epoch = steps_per_epoch
        # one tensor after another where it is sharded: torch takes no list of sharded tensors and whole buffers
        foreach = not execution.sharded
        self.ema = ModelEmaV3(model, decay=config.ema, use_warmup=True, foreach=foreach) if config.ema else None
        bfloat16 = is_bfloat16(precision, device)
        self.parallel = data_parallel(model, world, execution, device, bfloat16=bfloat16)
        if self.ema is not None and execution.sharded:  # part by part, as the weights
            shard(self.ema.module, device, bfloat16=bfloat16)
        self.optimizer = build_optimizer(model, config, learning_rate, layer_decay)
        self.schedule = build_schedule(self.optimizer, config, steps)
        self.autocast = autocast_to(precision, device)
        self.seconds = 0.0
        """Seconds spent on training steps."""
        self._unread: list[tuple[Stepped, Tensor, Tensor]] = []

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step; with layer decay, that of the last layer."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"] / group.get("lr_scale", 1.0))

    @property
    def average(self) -> nn.Module | None:
        """The moving average of the weights; None where there is none."""
        return None if self.ema is None else self.ema.module

    @property
    def evaluated_model(self) -> nn.Module:
        """The model to evaluate: the moving average of the weights where there is one, else the model itself."""
        return self.model if self.average is None else self.average

    @property
    def all_read(self) -> bool:
        """Whether the losses of all steps have been read: true after the same steps on every worker."""
        return not self._unread

    def step(
        self, number: int, losses: Iterable[MicrobatchLoss], microbatches: int, indices: Tensor
    ) -> Iterator[Stepped]:
        """One optimiser step from all micro-batches of a batch; yields the steps whose losses have been read.

        Args:
            number: the step's number, counted from 1.
            losses: one loss function per micro-batch, in a lazy iterable; the step's loss is their mean.
            microbatches: the number of micro-batches.
            indices: indices of the batch's images, for the error where the loss is not finite.

        """
        began = time.monotonic()
        self.schedule.step_update(number)
        total = torch.zeros((), device=self.device)
        for microbatch, loss in enumerate(losses, start=1):
            total += self._backward(loss, microbatches, last=microbatch == microbatches)
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        torch.clear_autocast_cache()  # within another autocast the cached casts would outlive this step's weights
        if self.ema is not None:
            self.ema.update(self.model, number)
        event = Stepped(number, number / self.steps_per_epoch, math.nan, self.learning_rate)
        self._unread.append((event, total, indices))
        self.seconds += time.monotonic() - began
        if self.device.type == "cpu" or len(self._unread) == _READ_EVERY:
            yield from self.flush_losses()

    def flush_losses(self) -> Iterator[Stepped]:
        """Read all unread losses, averaged over the workers, and yield their steps; raises NonFiniteLossError."""
        if not self._unread:
            return
        began = time.monotonic()
        losses = self.world.mean(torch.stack([loss for _, loss, _ in self._unread]))
        unread, self._unread = self._unread, []
        for (event, _, indices), loss in zip(unread, losses.tolist(), strict=True):
            if not math.isfinite(loss):
                shown = ", ".join(map(str, indices[:8].tolist())) + (", …" if len(indices) > 8 else "")
                raise NonFiniteLossError(
                    f"loss is {loss} at step {event.step} with learning rate {event.learning_rate:.3g}; "
                    f"the batch's images are {shown}"
                )
            yield Stepped(event.step, event.epoch, loss, event.learning_rate)
        self.seconds += time.monotonic() - began

    def _backward(self, loss_of: MicrobatchLoss, microbatches: int, *, last: bool) -> Tensor:
        """Add a micro-batch's gradients, averaged over workers in the last one only; returns loss / `microbatches`."""
        with nullcontext() if last else no_sync(self.parallel):
            with self.autocast:
                loss = loss_of(self.parallel) / microbatches
            loss.backward()
        return loss.detach()
