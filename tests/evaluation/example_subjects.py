"""Small models and data to evaluate."""

from dataclasses import replace

import torch

from darl.data import Dataset, Images
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig

__all__ = ["CPU", "experiment", "unlabelled"]

CPU = torch.device("cpu")


def experiment(depth: int = 1, **changes: object) -> Experiment:
    return Experiment(model=EncoderConfig(width=16, depth=depth, heads=2, patch_size=2), **changes)  # type: ignore[arg-type]


def unlabelled(dataset: Dataset) -> Dataset:
    train, validation = (Images(split.pixels, None) for split in (dataset.train, dataset.validation))  # type: ignore[union-attr]
    return replace(dataset, train=train, validation=validation, classes=None)
