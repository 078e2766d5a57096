"""Fine-tuning by MAE's recipe (He et al. 2022, appendix A.2): a classifier whose encoder starts pretrained.

The step, the checkpoints and the workers are those of pretraining (`darl.training.pretrain.fit`). So a fine-tuning
resumes exactly, and gives the same result over any number of workers, up to rounding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn

from darl.data import Batch, Dataset, Images, Stream, evaluation_batches
from darl.experiment import Experiment
from darl.metrics import FINETUNE
from darl.training.augmentation import StrongAugmentation
from darl.training.classifier import Classifier, build_classifier
from darl.training.loop import MicrobatchLoss
from darl.training.task import Task

__all__ = ["Accuracy", "FinetuningTask", "NoEvaluation", "top1"]

BATCH = 512
"""Images per batch of an evaluation."""


class FinetuningTask(Task):
    """Training a classifier on the labelled images of a data set. Raises UserError where something does not fit."""

    def __init__(self, experiment: Experiment, dataset: Dataset):
        config = experiment.finetuning
        assert config is not None
        self.experiment, self.config, self.layer_decay = experiment, config, config.layer_decay
        self.classes = dataset.class_count
        self.labels = torch.tensor(dataset.train.labels)
        self.augmentation = StrongAugmentation(config, dataset, self.classes)

    def build(self) -> Classifier:
        """See `Task.build`."""
        return build_classifier(self.experiment, self.classes)

    def losses(self, model: nn.Module, batch: Batch, first: int, size: int, step: int) -> Iterator[MicrobatchLoss]:
        """See `Task.losses`. The whole batch is augmented at once."""
        assert isinstance(model, Classifier)
        seed, labels = self.experiment.seed, self.labels[batch.indices].to(batch.images.device)
        images, targets = self.augmentation.images(batch.images, first, seed, step), labels
        if self.config.mixes:
            images, targets = self.augmentation.mixed(images, labels, first, seed, step)
        for start in range(0, len(images), size):
            here = slice(start, start + size)
            rows = range(first + start, first + start + size)
            loss = partial(self._loss, classifier=model, images=images[here], targets=targets[here])
            yield partial(loss, rows=rows, step=step)

    def _loss(
        self, model: nn.Module, *, classifier: Classifier, images: Tensor, targets: Tensor, rows: range, step: int
    ) -> Tensor:
        """model: `classifier`, or what wraps it for several workers."""
        classifier.draw_paths(rows, self.experiment.seed, step)
        scores = model(images).float()
        if targets.ndim == 2:
            return SoftTargetCrossEntropy()(scores, targets)
        return F.cross_entropy(scores, targets, label_smoothing=self.config.smoothing)


@dataclass(frozen=True)
class Accuracy:
    """The evaluation of a fine-tuning: top-1 on the validation images, and on the test images where they are given."""

    def __call__(self, model: nn.Module, dataset: Dataset, device: torch.device) -> Mapping[str, float | str | None]:
        """See `darl.training.pretrain.Evaluation`."""
        splits = {FINETUNE.column: dataset.validation, FINETUNE.test_column: dataset.test}
        return {column: top1(model, dataset, split, device) for column, split in splits.items() if split is not None}


@dataclass(frozen=True)
class NoEvaluation:
    """The evaluation of a classifier before training: none."""

    def __call__(self, model: nn.Module, dataset: Dataset, device: torch.device) -> Mapping[str, float | str | None]:
        """See `darl.training.pretrain.Evaluation`."""
        return {FINETUNE.column: None}


@torch.no_grad()
def top1(model: nn.Module, dataset: Dataset, split: Images | Stream, device: torch.device) -> float:
    """The fraction of a split's images whose class has the highest score, in [0, 1]."""
    labels, right, row, was_training = torch.tensor(split.labels), 0, 0, model.training
    model.eval()
    for images in evaluation_batches(dataset, split, batch_size=BATCH, device=device):
        predicted = model(images).argmax(1).cpu()
        right += int((predicted == labels[row : row + len(images)]).sum())
        row += len(images)
    model.train(was_training)
    return right / row
