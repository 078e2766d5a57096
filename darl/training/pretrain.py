"""Training: a plain torch loop that yields events. What is trained is a task: pretraining, or fine-tuning.

The loop knows neither Ray nor the result tables: progress bars, Ray's reports and the tables consume its events. Random
numbers are functions of (seed, step, row of the global batch). So a run that is resumed from any checkpoint gives the
same result as an uninterrupted one, and so does a run with another number of workers.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darl.data import Batch, Dataset, batches, steps_per_epoch
from darl.experiment import Experiment
from darl.training import checkpoint
from darl.training.checkpoint import TrainingState
from darl.training.description import Description
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.loop import Loop
from darl.training.memory import PeakMemory
from darl.training.parallel import PLAIN, Execution, World, microbatch_size
from darl.training.progress import TrainingProgress
from darl.training.sharding import copy_whole
from darl.training.task import task_of
from darl.variants import require

__all__ = ["Evaluation", "fit", "step_seconds"]

Evaluation = Callable[[Any, Dataset, torch.device], Mapping[str, float | str | list[float] | None]]
"""(model, data, device) → metrics by column of the tables; called under the training's autocast. The model is a `Darl`;
in fine-tuning, a `Classifier`."""


def step_seconds(experiment: Experiment, dataset: Dataset, steps: int = 3) -> float:
    """CPU seconds per training step on one core: the mean of `steps` steps after one warm-up step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training = _Training(experiment, dataset, torch.device("cpu"))
        began = 0.0
        every = (batch for epoch in count() for batch in training.batches(epoch, 0))
        for number, batch in enumerate(islice(every, steps + 1)):
            began = time.process_time() if number == 1 else began
            list(training.step(batch))
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
    first: Evaluation | None = None,
    evaluate_at: Mapping[int, Evaluation] | None = None,
    save_every: int = 1000,
    execution: Execution = PLAIN,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Event]:
    """Train the model of an experiment, and yield events as they happen.

    Args:
        experiment: the run's configuration.
        dataset: its data, from `darl.data.load`.
        device: the device to train on.
        folder: checkpoints are saved here, at every evaluation and every `save_every` steps; None keeps none. Where the
            model is sharded each worker has a folder of its own: see `darl.training.checkpoint.save`.
        resume: a checkpoint of the same experiment to go on from.
        initial: the weights that `experiment.init` is the hash of, and those of the tokenizer that
            `experiment.tokenizer_weights` is the hash of, by the model's parameter names; parameters that are missing
            are initialised from the seed.
        full: the evaluation before the first epoch and after the last one, which alone is given the test split.
        first: the evaluation before the first epoch, if it is another one.
        evaluate_at: further evaluations, by the epoch after which each is made.
        save_every: steps between checkpoints.
        execution: sharding, gradient checkpointing, compilation (for GPUs; it was not faster on a CPU).
        stop: called after each step (with several GPUs after every twentieth). Once it is true on any worker, a
            checkpoint is saved and the events end. Must be given on all workers or on none.

    Raises:
        UserError: the batch size does not fit the workers or the data, or `initial` is missing.
        NonFiniteLossError: the loss is not finite; names step, learning rate and the batch's indices.
        ArithmeticError: the model's features are not finite.

    """
    if resume is None:
        _check_initial(experiment, initial)
    training = _Training(experiment, dataset, device, execution, initial if resume is None else None)
    evaluations = {**(evaluate_at or {}), experiment.epochs: full}
    if resume is not None:
        yield from training.restore(resume)
    else:
        yield training.evaluate(0, first or full)
    yield from training.evaluate_if_due(evaluations, folder)
    for epoch in range(training.progress.step // training.steps, experiment.epochs):
        for batch in training.batches(epoch, training.progress.step - epoch * training.steps):
            yield from training.step(batch)
            stopped = training.is_stopped(stop)
            due = training.epoch_that_ended in evaluations  # then the checkpoint is saved after the evaluation
            if folder is not None and (stopped or (training.progress.step % save_every == 0 and not due)):
                yield from training.flush_losses()
                yield training.save(folder)
            if stopped:
                return
        yield from training.flush_losses()
        yield from training.evaluate_if_due(evaluations, folder)


def _check_initial(experiment: Experiment, initial: Mapping[str, Tensor] | None) -> None:
    """Raise UserError unless the initial weights are given exactly where the record names some."""
    named = experiment.init or experiment.tokenizer_weights
    require(initial is not None or named is None, "init", "come with its weights (`initial`)", named)
    require(initial is None or named is not None, "init", "be set where initial weights are given", named)


class _Training:
    """One run: its model, its optimiser loop and its progress."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        device: torch.device,
        execution: Execution = PLAIN,
        initial: Mapping[str, Tensor] | None = None,
    ):
        self.experiment, self.dataset, self.device, self.world = experiment, dataset, device, World.current()
        self.microbatch_size = microbatch_size(experiment, self.world.size)
        self.rows = self.world.rows(experiment.batch_size)
        self.steps = steps_per_epoch(len(dataset.train), experiment.batch_size)
        self.task = task_of(experiment, dataset)
        self.model, self.sharded = self.task.build(), execution.sharded
        if initial is not None:  # other parameters stay as they are
            self.model.load_state_dict(initial, strict=False)
            self._check_tokenizer()
        if not self.sharded:  # else it is moved part by part
            self.model.to(device)
        self.loop = Loop(
            self.model,
            experiment.optim,
            learning_rate=experiment.learning_rate,
            steps=self.steps * experiment.epochs,
            steps_per_epoch=self.steps,
            device=device,
            world=self.world,
            precision=experiment.precision,
            execution=execution,
            layer_decay=self.task.layer_decay,
        )
        self.memory = PeakMemory(device)
        self.state = TrainingState(
            model=self.model, average=self.loop.average, optimizer=self.loop.optimizer, progress=TrainingProgress()
        )

    def _check_tokenizer(self) -> None:
        """Raise UserError unless the initial weights hold those of the tokenizer that the record names."""
        named = self.experiment.tokenizer_weights
        if named is not None:
            from darl.training.tokenizer import fingerprint_in

            given = fingerprint_in(self.model)
            require(given == named, "initial", f"hold the weights of tokenizer {named}", given)

    @property
    def progress(self) -> TrainingProgress:
        """The progress since the first attempt."""
        return self.state.progress

    @property
    def epoch_that_ended(self) -> int | None:
        """The number of the epoch that the last step completed; None within an epoch."""
        return self.progress.step // self.steps if self.progress.step % self.steps == 0 else None

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """This worker's part of the epoch's batches from number `first` on."""
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
        """One optimiser step from a batch."""
        self.progress.step += 1
        step = self.progress.step
        losses = self.task.losses(self.model, batch, self.rows.start, self.microbatch_size, step)
        yield from self._counted(self.loop.step(step, losses, self.experiment.accumulate, batch.indices))
        self.task.after_step(self.model, self.world)

    def flush_losses(self) -> Iterator[Stepped]:
        """See `Loop.flush_losses`."""
        yield from self._counted(self.loop.flush_losses())

    def _counted(self, steps: Iterator[Stepped]) -> Iterator[Stepped]:
        """The events, whose losses are added to the mean that the next evaluation reports."""
        for event in steps:
            self.progress.add(event.loss)
            yield event

    def is_stopped(self, stop: Callable[[], bool] | None) -> bool:
        """Whether `stop` is true on any worker. Workers communicate only after steps at which all read their losses."""
        agree = self.world.size == 1 or self.loop.all_read
        return stop is not None and agree and self.world.any(stop(), self.device)

    def evaluate_if_due(self, evaluations: Mapping[int, Evaluation], folder: Path | None) -> Iterator[Event]:
        """Evaluate and save if the epoch that has just ended is in `evaluations` and is not in the history.

        The checkpoint comes first: whoever ends the run at an evaluation has the weights that were evaluated.
        """
        epoch = self.epoch_that_ended
        if epoch is None or epoch not in evaluations or self.progress.is_evaluated(epoch):
            return
        event = self.evaluate(epoch, evaluations[epoch])
        if folder is not None:
            yield self.save(folder)
        yield event

    def evaluate(self, epoch: int, measured_by: Evaluation) -> Evaluated:
        """Evaluate the weights, or their moving average where there is one; only the end sees the test split."""
        dataset = self.dataset if epoch == self.experiment.epochs else self.dataset.deciding
        self.memory.stop()
        with self.loop.autocast:
            metrics = {**measured_by(self._evaluated_model(), dataset, self.device)}
        metrics |= self.task.state_columns(self.model)
        progress, seen = self.progress, self.progress.step * self.experiment.batch_size
        event = Evaluated(
            epoch=epoch,
            step=progress.step,
            images_seen=seen,
            metrics=metrics,
            train_loss=progress.take_mean_loss(),
            learning_rate=self.loop.learning_rate if progress.step else 0.0,
            seconds=progress.tick(),
            images_per_second=seen / self.loop.seconds if seen else None,
            peak_memory=int(self.world.largest(self.memory.most or 0, self.device)) or None,
        )
        self.memory.start()
        progress.history.append(asdict(event))
        return event

    def _evaluated_model(self) -> nn.Module:
        """The model to evaluate, whole on each worker: of a sharded one a copy, for this evaluation alone."""
        model = self.loop.evaluated_model
        return copy_whole(model, self.task.build().to(self.device)) if self.sharded else model

    def save(self, folder: Path) -> Saved:
        """Save a checkpoint, written by worker 0; where the model is sharded, by all workers."""
        self.progress.tick()
        self.progress.train_seconds = self.loop.seconds
        path = checkpoint.path_of(folder, self.progress.step)
        if self.world.rank == 0 or self.sharded:
            described = Description(self.experiment, self.dataset.mean, self.dataset.std)
            checkpoint.save(folder, self.state, described, rank=self.world.rank)
        return Saved(self.progress.step, path)

    def restore(self, path: Path) -> Iterator[Evaluated]:
        """Load a checkpoint's state, and yield the evaluations in it."""
        checkpoint.restore(path, self.state)
        self.loop.seconds = self.progress.train_seconds
        self.memory.start()
        for row in self.progress.history:
            yield Evaluated(**row)
