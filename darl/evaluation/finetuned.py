"""What a fine-tuning evaluates: the accuracies of its own classifier."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from darl.data import Dataset, Images, Stream, evaluation_batches
from darl.evaluation.accuracy import accuracies, best_classes
from darl.evaluation.protocol import SPLIT, Value
from darl.evaluation.subject import BATCH
from darl.metrics import FINETUNE, OVER_IMAGES

__all__ = ["Accuracy", "NoEvaluation"]


@dataclass(frozen=True)
class Accuracy:
    """The evaluation of a fine-tuning: accuracies on the validation images, top-1 on labelled test images where given.

    Column `split` says what the validation images are (`Dataset.split`), as in a pretraining's evaluation.
    """

    def __call__(self, model: nn.Module, dataset: Dataset, device: torch.device) -> Mapping[str, Value]:
        """See `darl.training.pretrain.Evaluation`."""
        classes = dataset.class_count
        columns = {SPLIT: dataset.split, **_accuracies(model, dataset, dataset.validation, classes, device)}
        if dataset.test is not None and dataset.test.labels is not None:
            final = _accuracies(model, dataset, dataset.test, classes, device)
            columns[FINETUNE.test_column] = final[FINETUNE.column]
        return columns


@dataclass(frozen=True)
class NoEvaluation:
    """The evaluation of a classifier before training: none."""

    def __call__(self, model: nn.Module, dataset: Dataset, device: torch.device) -> Mapping[str, Value]:
        """See `darl.training.pretrain.Evaluation`."""
        return dict.fromkeys(metric.column for metric in (FINETUNE, *OVER_IMAGES[FINETUNE.column]))


@torch.no_grad()
def _accuracies(
    model: nn.Module, dataset: Dataset, split: Images | Stream, classes: int, device: torch.device
) -> dict[str, Value]:
    was_training = model.training
    model.eval()
    batches = evaluation_batches(dataset, split, batch_size=BATCH, device=device)
    best = torch.cat([best_classes(model(images).float()).cpu() for images in batches])
    model.train(was_training)
    return accuracies(best, torch.as_tensor(split.labels), classes, "finetune")
