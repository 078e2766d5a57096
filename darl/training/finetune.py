"""Fine-tuning by MAE's recipe (He et al. 2022, appendix A.2): a classifier whose encoder starts pretrained.

The step, the checkpoints and the workers are those of pretraining (`darl.training.pretrain.fit`). So a fine-tuning
resumes exactly, and gives the same result over any number of workers, up to rounding.
"""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn

from darl.data import Batch, Dataset
from darl.experiment import Experiment
from darl.training.augmentation import StrongAugmentation
from darl.training.classifier import Classifier, build_classifier
from darl.training.loop import MicrobatchLoss
from darl.training.task import Task

__all__ = ["FinetuningTask"]


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
