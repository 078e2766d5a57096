"""Pretraining: a plain torch loop that yields events.

The loop knows neither Ray nor files of results: progress bars, Ray's reports and the tables take the events. Every draw
is a function of (seed, step, row of the global batch), so a run that stops after any checkpoint goes on exactly, and
several workers see what one would have seen.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from darl.data import Batch, Dataset, batches, steps_per_epoch
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.objectives.base import Draws
from darl.training import checkpoint
from darl.training.checkpoint import Progress
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.loop import Loop, PartLoss
from darl.training.parallel import World, worker_part
from darl.variants import require

__all__ = ["Evaluation", "fit", "step_seconds"]

Evaluation = Callable[[Darl, Dataset, torch.device], Mapping[str, float | None]]
"""Metrics of a model on a data set, by column of the tables. It runs under the autocast of the training."""


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
    initial: Mapping[str, Tensor] | None = None,
    full: Evaluation,
    evaluate_at: Mapping[int, Evaluation] | None = None,
    save_every: int = 1000,
    compiled: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Event]:
    """Pretrain, and yield events as they happen.

    Args:
        experiment: what to train.
        dataset: its data, from `darl.data.load`.
        device: where.
        folder: checkpoints go here, after every evaluation and every `save_every` steps; None keeps none.
        resume: a checkpoint of the same experiment to go on from.
        initial: the weights that `experiment.init` names, by the model's own names; what is not among them is
            initialised from the seed.
        full: the evaluation before the first epoch and after the last one.
        evaluate_at: further evaluations, by the epoch after which each is made.
        save_every: steps between checkpoints.
        compiled: `torch.compile` the model (for GPUs: on a CPU nothing was gained).
        stop: asked after a step (with several GPUs after every twentieth). Once it is true for any worker, a checkpoint
            is saved and the events end. Given to all workers or to none.

    Raises:
        UserError: batch size and workers or data do not fit together, or `initial` is missing.
        NonFiniteLossError: naming step, learning rate and the batch's indices.
        ArithmeticError: the model's features are no numbers any more.

    """
    run = _Run(experiment, dataset, device, compiled)
    evaluations = {**(evaluate_at or {}), experiment.epochs: full}
    if resume is not None:
        yield from run.restore(resume)
    else:
        run.start_from(initial)
        yield run.evaluate(0, full)
    yield from run.evaluate_if_due(evaluations, folder)
    for epoch in range(run.progress.step // run.steps, experiment.epochs):
        for batch in run.batches(epoch, run.progress.step - epoch * run.steps):
            yield from run.step(batch)
            stopped = run.is_stopped(stop)
            due = run.epoch_that_ended in evaluations  # then it is saved after the evaluation
            if folder is not None and (stopped or (run.progress.step % save_every == 0 and not due)):
                yield from run.flush_losses()
                yield run.save(folder)
            if stopped:
                return
        yield from run.flush_losses()
        yield from run.evaluate_if_due(evaluations, folder)


class _Run:
    """The state of one run: model, loop, progress."""

    def __init__(self, experiment: Experiment, dataset: Dataset, device: torch.device, compiled: bool):
        self.experiment, self.dataset, self.device, self.world = experiment, dataset, device, World.current()
        self.part_size = worker_part(experiment, self.world.size)
        self.rows = self.world.rows(experiment.batch_size)
        self.steps = steps_per_epoch(len(dataset.train), experiment.batch_size)
        self.model: Darl = experiment.build().to(device)
        self.loop = Loop(
            self.model,
            experiment.optim,
            learning_rate=experiment.learning_rate,
            steps=self.steps * experiment.epochs,
            steps_per_epoch=self.steps,
            device=device,
            world=self.world,
            precision=experiment.precision,
            compiled=compiled,
        )
        self.progress = Progress()
        self.clock = time.monotonic()

    @property
    def epoch_that_ended(self) -> int | None:
        """Its number, where the last step was its last one."""
        return self.progress.step // self.steps if self.progress.step % self.steps == 0 else None

    def start_from(self, initial: Mapping[str, Tensor] | None) -> None:
        """Take the initial weights where there are some; the moving average starts from them too."""
        named = self.experiment.init
        require((initial is None) == (named is None), "init", "come with the weights that it names", named)
        for module in (self.model, self.loop.ema and self.loop.ema.module):
            if module is not None and initial is not None:
                module.load_state_dict(initial, strict=False)

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
        self.progress.step += 1
        losses = self._part_losses(batch, self.progress.step)
        yield from self._counted(self.loop.step(self.progress.step, losses, self.experiment.accumulate, batch.indices))

    def _part_losses(self, batch: Batch, step: int) -> Iterator[PartLoss]:
        """The losses of a batch's parts; each part's noise is drawn when its turn comes."""
        for first in range(0, len(batch.images), self.part_size):
            start = self.rows.start + first
            rows = range(start, start + self.part_size)
            draws = self.model.draw(rows, self.experiment.seed, step, device=self.device)
            images = batch.images[first : first + self.part_size]
            yield partial(_loss_of, images=images, draws=draws)

    def flush_losses(self) -> Iterator[Stepped]:
        """See `Loop.flush_losses`."""
        yield from self._counted(self.loop.flush_losses())

    def _counted(self, steps: Iterator[Stepped]) -> Iterator[Stepped]:
        for event in steps:
            self.progress.loss_sum += event.loss
            self.progress.loss_count += 1
            yield event

    def is_stopped(self, stop: Callable[[], bool] | None) -> bool:
        """Whether any worker is asked to stop. Workers agree where they have just read their losses together."""
        agree = self.world.size == 1 or self.loop.all_read
        return stop is not None and agree and self.world.any(stop(), self.device)

    def evaluate_if_due(self, evaluations: Mapping[int, Evaluation], folder: Path | None) -> Iterator[Event]:
        """Evaluate and save at the end of an epoch that asks for it, unless that has been done."""
        epoch = self.epoch_that_ended
        if epoch is None or epoch not in evaluations or any(row["epoch"] == epoch for row in self.progress.history):
            return
        yield self.evaluate(epoch, evaluations[epoch])
        if folder is not None:
            yield self.save(folder)

    def evaluate(self, epoch: int, measured_by: Evaluation) -> Evaluated:
        """Evaluate the weights, or their moving average where there is one."""
        with self.loop.autocast:
            metrics = dict(measured_by(cast("Darl", self.loop.judged), self.dataset, self.device))
        progress, seen = self.progress, self.progress.step * self.experiment.batch_size
        event = Evaluated(
            epoch=epoch,
            step=progress.step,
            images_seen=seen,
            metrics=metrics,
            train_loss=progress.loss_sum / progress.loss_count if progress.loss_count else None,
            learning_rate=self.loop.learning_rate if progress.step else 0.0,
            seconds=self._seconds(),
            images_per_second=seen / self.loop.seconds if seen else None,
        )
        progress.loss_sum, progress.loss_count = 0.0, 0
        progress.history.append(asdict(event))
        return event

    def save(self, folder: Path) -> Saved:
        """Save a checkpoint; the first worker writes it."""
        self._seconds()
        path = folder / f"step-{self.progress.step:08d}"
        if self.world.rank == 0:
            checkpoint.save(
                folder,
                experiment=self.experiment,
                statistics=(self.dataset.mean, self.dataset.std),
                model=self.model,
                ema=self.loop.ema.module if self.loop.ema else None,
                optimizer=self.loop.optimizer,
                progress=self.progress,
            )
        return Saved(self.progress.step, path)

    def restore(self, path: Path) -> Iterator[Evaluated]:
        """Take a checkpoint's state, and tell its evaluations again."""
        ema = self.loop.ema.module if self.loop.ema else None
        self.progress = checkpoint.restore(
            path, model=self.model, ema=ema, optimizer=self.loop.optimizer, device=self.device
        )
        self.loop.seconds = self.progress.train_seconds
        for row in self.progress.history:
            yield Evaluated(**row)

    def _seconds(self) -> float:
        """Seconds of all attempts up to now; brings the progress up to date."""
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.progress.train_seconds = self.loop.seconds
        self.clock = now
        return self.progress.seconds


def _loss_of(model: nn.Module, *, images: Tensor, draws: Draws) -> Tensor:
    return model(images, draws)["loss"]
