"""Runs to export: a trained one, and others that read images in each way, with weights that are far from initial."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from darl.data import Dataset
from darl.experiment import Experiment
from darl.export.base import Source, read_source
from darl.finetuning import Finetuning
from darl.model.encoder_config import EncoderConfig
from darl.model.orders import Order
from darl.model.positions import Position
from darl.optim import build_optimizer
from darl.training.checkpoint import TrainingState, save
from darl.training.classifier import build_classifier
from darl.training.description import Description
from darl.training.pretrain import fit
from darl.training.progress import TrainingProgress
from tests.evaluation.example_subjects import CPU

__all__ = ["PARTS", "READINGS", "SIZE", "images", "saved_run", "source_of", "trained_run", "tuned_run"]

SIZE = EncoderConfig(width=16, depth=2, heads=2, patch_size=2)
PARTS: dict[str, Any] = {"qk_norm": True, "init_values": 0.5, "swiglu": True}

READINGS: dict[str, dict[str, Any]] = {
    "rope2d, mask": {"position": "rope2d:temperature=50"},
    "rope2d, mask, another order": {"position": "rope2d", "order": "hilbert"},
    "rope2d, no mask": {"position": "rope2d", "order": "spiral", "causal": False},
    "rope1d, last patch": {"position": "rope1d", "order": "column", "model": EncoderConfig(
        width=16, depth=2, heads=2, patch_size=2, readout="last")},
    "rope1d, mask": {"position": "rope1d"},
    "learned": {"position": "learned", "order": "random"},
    "sincos2d": {"position": "sincos2d"},
    "absent": {"position": "absent", "order": "snake"},
    "parts": {"position": "rope2d", "order": "spiral", "model": replace(SIZE, **PARTS)},
    "parts, mask, rope1d": {"position": "rope1d", "model": replace(SIZE, **PARTS)},
    "parts, learned": {"position": "learned", "model": replace(SIZE, qk_norm=True, init_values=0.5)},
}  # fmt: skip
"""Ways of reading: positions, orders, masks, readouts, parts of the blocks."""


def saved_run(folder: Path, **changes: Any) -> Path:
    """A folder of checkpoints; every weight is moved away from where it starts."""
    parsed = {"position": Position.parse, "order": Order.parse}
    given = {name: parsed[name](value) if name in parsed else value for name, value in changes.items()}
    experiment = Experiment(**{"model": SIZE, **given})
    return _saved(folder, experiment, experiment.build())


def tuned_run(folder: Path, *, attentive: bool = False, init: str | None = "0" * 12, **changes: Any) -> Path:
    """The same of a fine-tuning with three classes. init: None for training from random weights."""
    tuning = Finetuning(attentive=attentive, source=init and "source")
    experiment = Experiment(**{"model": SIZE, "causal": False, "init": init, "finetuning": tuning, **changes})
    return _saved(folder, experiment, build_classifier(experiment, 3))


def _saved(folder: Path, experiment: Experiment, model: torch.nn.Module) -> Path:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
    optimizer = build_optimizer(model, experiment.optim, 1e-3)
    state = TrainingState(model=model, average=None, optimizer=optimizer, progress=TrainingProgress(step=3))
    save(folder, state, Description(experiment, (0.25,), (0.5,)))
    return folder


def trained_run(folder: Path, digits: Dataset) -> Path:
    """The folder of checkpoints of a run that was trained on digits."""
    for _ in fit(Experiment(model=SIZE, epochs=1), digits, device=CPU, folder=folder, full=lambda *_: {}):
        pass
    return folder


def source_of(run: Path, **metrics: Any) -> Source:
    return read_source(str(run), lambda *_: metrics)


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(count))
