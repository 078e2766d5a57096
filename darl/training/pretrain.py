"""Pretraining: a plain torch loop that yields events.

The loop knows neither Ray nor files of results: progress bars, Ray's reports and the tables take the events. Every draw
is a function of (seed, step, row of the global batch), so a run that stops after any checkpoint goes on exactly, and
several workers see what one would have seen.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from darl.data import Batch, Dataset, batches, steps_per_epoch
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.objectives.base import Draws
from darl.optim import build_optimizer, build_schedule
from darl.training import checkpoint
from darl.training.checkpoint import Progress
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.parallel import World, worker_part

__all__ = ["Evaluation", "NonFiniteLossError", "fit", "step_seconds"]

Evaluation = Callable[[Darl, Dataset, torch.device], Mapping[str, float | None]]
"""Metrics of a model on a data set, by column of the tables. It runs under the autocast of the training."""


class NonFiniteLossError(ArithmeticError):
    """The loss is not a number any more; nothing was saved since."""


def step_seconds(experiment: Experiment, dataset: Dataset, steps: int = 3) -> float:
    """CPU seconds of a training step on one core, after one to warm up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = _Run(experiment, dataset, torch.device("cpu"), compiled=False)
        began = 0.0
        every = (batch for epoch in count() for batch in run.batches(epoch, 0))
        for number, batch in enumerate(islice(every, steps + 1)):
            began = time.process_time() if number == 1 else began
            list(run.step(batch))
        return (time.process_time() - began) / steps
    finally:
        torch.set_num_threads(threads)


def fit(
    experiment: Experiment,
    dataset: Dataset,
    *,
    device: torch.device,
    folder: Path | None = None,
    resume: Path | None = None,
    full: Evaluation,
    evaluate_at: Mapping[int, Evaluation] | None = None,
    save_every: int = 1000,
    compiled: bool = False,
) -> Iterator[Event]:
    """Pretrain, and yield events as they happen.

    Args:
        experiment: what to train.
        dataset: its data, from `darl.data.load`.
        device: where.
        folder: checkpoints go here, after every evaluation and every `save_every` steps; None keeps none.
        resume: a checkpoint of the same experiment to go on from.
        full: the evaluation before the first epoch and after the last one.
        evaluate_at: further evaluations, by the epoch after which each is made.
        save_every: steps between checkpoints.
        compiled: `torch.compile` the model (for GPUs: on a CPU nothing was gained).

    Raises:
        UserError: batch size and workers or data do not fit together.
        NonFiniteLossError: naming step, learning rate and the batch's indices.
        ArithmeticError: the model's features are no numbers any more.

    """
    run = _Run(experiment, dataset, device, compiled)
    if resume is not None:
        run.restore(resume)
        for row in run.progress.history:
            yield Evaluated(**row)
    else:
        yield run.evaluate(0, full)
    evaluations = {**(evaluate_at or {}), experiment.epochs: full}
    started = run.progress.step // run.steps
    for epoch in range(started, experiment.epochs):
        first = run.progress.step - epoch * run.steps
        for batch in run.batches(epoch, first):
            yield from run.step(batch)
            ends = run.progress.step == (epoch + 1) * run.steps and epoch + 1 in evaluations  # saved after that
            if folder is not None and run.progress.step % save_every == 0 and not ends:
                yield from run.flush_losses()
                yield run.save(folder)
        yield from run.flush_losses()
        if epoch + 1 in evaluations:
            yield run.evaluate(epoch + 1, evaluations[epoch + 1])
            if folder is not None:
                yield run.save(folder)


class _Run:
    """The state of one run: model, average, optimiser, progress."""

    def __init__(self, experiment: Experiment, dataset: Dataset, device: torch.device, compiled: bool):
        self.experiment, self.dataset, self.device, self.world = experiment, dataset, device, World.current()
        worker_part(experiment, self.world.size)
        self.rows = self.world.rows(experiment.batch_size)
        self.steps = steps_per_epoch(len(dataset.train), experiment.batch_size)
        self.model: Darl = experiment.build().to(device)
        self.ema = ModelEmaV3(self.model, decay=experiment.optim.ema, use_warmup=True) if experiment.optim.ema else None
        self.optimizer = build_optimizer(self.model, experiment.optim, experiment.learning_rate)
        self.schedule = build_schedule(self.optimizer, experiment.optim, self.steps * experiment.epochs)
        self.progress = Progress()
        self.pending: list[tuple[Stepped, Tensor, Tensor]] = []
        self.clock = time.monotonic()
        self.parallel = cast("nn.Module", torch.compile(self.model) if compiled else self.model)
        if self.world.size > 1:
            self.parallel = DistributedDataParallel(self.parallel, broadcast_buffers=False)
        bfloat = experiment.precision == "bfloat16" or (experiment.precision == "auto" and device.type == "cuda")
        self.autocast = torch.autocast(device.type, torch.bfloat16) if bfloat else nullcontext()

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        return batches(
            self.dataset,
            seed=self.experiment.seed,
            epoch=epoch,
            batch_size=self.experiment.batch_size,
            augment=self.experiment.augment,
            device=self.device,
            rows=self.rows,
            first=first,
        )

    def step(self, batch: Batch) -> Iterator[Stepped]:
        """One optimiser step, from all parts of the batch."""
        began, step = time.monotonic(), self.progress.step + 1
        self.schedule.step_update(step)
        parts = self.experiment.accumulate
        size, total = worker_part(self.experiment, self.world.size), torch.zeros((), device=self.device)
        for part in range(parts):
            images = batch.images[part * size : (part + 1) * size]
            start = self.rows.start + part * size
            draws = self.model.draw(range(start, start + size), self.experiment.seed, step, device=self.device)
            total += self._backward(images, draws, parts, last=part == parts - 1)
        if self.experiment.optim.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.experiment.optim.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.update(self.model, step)
        self.progress.step = step
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.pending.append((Stepped(step, step / self.steps, math.nan, rate), total, batch.indices))
        self.progress.train_seconds += time.monotonic() - began
        # Reading a loss waits for the GPU: there, twenty steps at a time.
        if self.device.type == "cpu" or len(self.pending) == 20:
            yield from self.flush_losses()

    def _backward(self, images: Tensor, draws: Draws, parts: int, last: bool) -> Tensor:
        parallel = self.parallel
        alone = parallel.no_sync() if isinstance(parallel, DistributedDataParallel) and not last else nullcontext()
        with alone:
            with self.autocast:
                loss = parallel(images, draws)["loss"] / parts
            loss.backward()
        return loss.detach()

    def flush_losses(self) -> Iterator[Stepped]:
        """Read the losses of the steps since the last time, averaged over the workers."""
        if not self.pending:
            return
        began = time.monotonic()
        losses = torch.stack([loss for _, loss, _ in self.pending])
        if self.world.size > 1:
            dist.all_reduce(losses)
            losses /= self.world.size
        pending, self.pending = self.pending, []
        for (event, _, indices), loss in zip(pending, losses.tolist(), strict=True):
            if not math.isfinite(loss):
                shown = ", ".join(map(str, indices[:8].tolist())) + (", …" if len(indices) > 8 else "")
                raise NonFiniteLossError(
                    f"loss is {loss} at step {event.step} with learning rate {event.learning_rate:.3g}; "
                    f"the batch's images are {shown}"
                )
            self.progress.loss_sum += loss
            self.progress.loss_count += 1
            yield Stepped(event.step, event.epoch, loss, event.learning_rate)
        self.progress.train_seconds += time.monotonic() - began

    def evaluate(self, epoch: int, measured_by: Evaluation) -> Evaluated:
        """Evaluate the weights, or their moving average where there is one."""
        judged = self.model if self.ema is None else self.ema.module
        with self.autocast:
            metrics = dict(measured_by(cast("Darl", judged), self.dataset, self.device))
        progress, seen = self.progress, self.progress.step * self.experiment.batch_size
        event = Evaluated(
            epoch=epoch,
            step=progress.step,
            images_seen=seen,
            metrics=metrics,
            train_loss=progress.loss_sum / progress.loss_count if progress.loss_count else None,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]) if progress.step else 0.0,
            seconds=self._seconds(),
            images_per_second=seen / progress.train_seconds if seen else None,
        )
        progress.loss_sum, progress.loss_count = 0.0, 0
        progress.history.append(asdict(event))
        return event

    def save(self, folder: Path) -> Saved:
        self._seconds()
        path = folder / f"step-{self.progress.step:08d}"
        if self.world.rank == 0:
            checkpoint.save(
                folder,
                experiment=self.experiment,
                statistics=(self.dataset.mean, self.dataset.std),
                model=self.model,
                ema=self.ema.module if self.ema else None,
                optimizer=self.optimizer,
                progress=self.progress,
            )
        return Saved(self.progress.step, path)

    def restore(self, path: Path) -> None:
        ema = self.ema.module if self.ema else None
        self.progress = checkpoint.restore(
            path, model=self.model, ema=ema, optimizer=self.optimizer, device=self.device
        )

    def _seconds(self) -> float:
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.clock = now
        return self.progress.seconds
