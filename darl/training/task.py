"""What a run trains: a model, its losses on a batch, and the optimiser's layer decay.

Pretraining, fine-tuning and the training of a tokenizer differ in these only. Steps, epochs, evaluations, checkpoints,
resumption and workers (`darl.training.loop`, `darl.training.pretrain`, `darl.distributed.trainer`) are the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from darl.data import Batch, Dataset, steps_per_epoch
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.objectives.base import LABELS, Draws
from darl.training.adapted import adapted_columns, order_columns
from darl.training.loop import MicrobatchLoss
from darl.training.parallel import World
from darl.variants import require

__all__ = ["PretrainingTask", "Task", "microbatch_losses", "task_of"]


class Task(ABC):
    """What a run trains."""

    layer_decay: float | None = None
    """See `darl.optim.build_optimizer`."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The model, initialised from the experiment's seed."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch, first: int, size: int, step: int) -> Iterator[MicrobatchLoss]:
        """The loss functions of a step's micro-batches; random numbers of each are drawn when it is reached.

        Args:
            model: what `build` gave, on the device.
            batch: this worker's rows of the global batch.
            first: its first row there.
            size: images per micro-batch.
            step: the step's number, for the draws.

        """

    def after_step(self, model: nn.Module, world: World) -> None:  # noqa: B027  (most tasks have nothing to do)
        """Called after each optimiser step, on every worker. model: what `build` gave."""

    def state_columns(self, model: nn.Module) -> Mapping[str, float | str]:
        """What the tables say of the training's own state at an evaluation, by column."""
        return {}


class PretrainingTask(Task):
    """Pretraining by the experiment's objective."""

    def __init__(self, experiment: Experiment, dataset: Dataset):
        self.experiment, self.labels = experiment, None
        self.steps = experiment.epochs * steps_per_epoch(len(dataset.train), experiment.batch_size)
        if experiment.reads_labels:
            labels = dataset.train.labels
            whom = "this objective" if experiment.objective.needs_labels else "condition labels"
            require(labels is not None, "data", f"have labels for {whom}", dataset.name)
            self.labels = torch.tensor(labels)

    def build(self) -> Darl:
        """See `Task.build`."""
        return self.experiment.build()

    def losses(self, model: nn.Module, batch: Batch, first: int, size: int, step: int) -> Iterator[MicrobatchLoss]:
        """See `Task.losses`."""
        assert isinstance(model, Darl)
        device = batch.images.device
        labels = None if self.labels is None else self.labels[batch.indices].to(device, non_blocking=True)
        progress = (step - 1) / self.steps
        return microbatch_losses(model, batch.images, first, size, self.experiment.seed, step, labels, progress)

    def after_step(self, model: nn.Module, world: World) -> None:
        """Adapt what follows the losses: a noise schedule, a distribution of orders."""
        assert isinstance(model, Darl)
        for follower in filter(None, (model.adaptation, model.order_policy)):
            follower.update(world.sum)

    def state_columns(self, model: nn.Module) -> Mapping[str, float | str]:
        """Where noise schedule and orders are, if they follow the losses: see `darl.training.adapted`."""
        assert isinstance(model, Darl)
        noise = {} if model.adaptation is None else adapted_columns(model.adaptation.schedule)
        return {**noise, **order_columns(model)}


def task_of(experiment: Experiment, dataset: Dataset) -> Task:
    """The task of an experiment; raises UserError where the data or the workers do not fit."""
    if experiment.trains_tokenizer:
        from darl.training.tokenizer import TokenizerTask  # it imports this module

        return TokenizerTask(experiment, dataset)
    if experiment.finetuning is None:
        return PretrainingTask(experiment, dataset)
    from darl.training.finetune import FinetuningTask  # with timm's augmentation, which pretraining does not need

    return FinetuningTask(experiment, dataset)


def microbatch_losses(
    model: Darl,
    images: Tensor,
    start: int,
    size: int,
    seed: int,
    step: int,
    labels: Tensor | None = None,
    progress: float = 0.0,
) -> Iterator[MicrobatchLoss]:
    """The loss functions of a pretraining step's micro-batches.

    start: the images' first row in the global batch. size: images per micro-batch. labels: the images' classes, if the
    objective needs them. progress: fraction of the steps that have been taken, by which orders are annealed.
    """
    for first in range(0, len(images), size):
        rows = range(start + first, start + first + size)
        draws = model.draw(rows, seed, step, device=images.device, progress=progress)
        draws = draws if labels is None else {**draws, LABELS: labels[first : first + size]}
        yield partial(_loss_of, own=model, images=images[first : first + size], draws=draws)


def _loss_of(model: nn.Module, *, own: Darl, images: Tensor, draws: Draws) -> Tensor:
    """own: the model without what wraps it for several workers."""
    out = model(images, draws)
    own.observe(images, draws, out["prediction"].detach())
    return out["loss"]
