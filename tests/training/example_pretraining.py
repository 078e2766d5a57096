"""A small pretraining, its losses, and its events up to a kill."""

from collections.abc import Iterator
from typing import Any

import torch

from darl.evaluation.protocol import Protocols
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.training.events import Event, Saved, Stepped

__all__ = ["CPU", "EVALUATED", "QUICK", "experiment", "losses", "stop_after"]

CPU = torch.device("cpu")
QUICK = Protocols.parse("knn,denoising")
"""An evaluation that takes less time than the training."""
EVALUATED: Any = {"full": QUICK, "evaluate_at": {2: QUICK}}
SIZE = EncoderConfig(width=16, depth=1, heads=2, patch_size=2)


def experiment(**changes: Any) -> Experiment:
    return Experiment(**{"model": SIZE, "epochs": 4, "batch_size": 32, "noise": Beta(a=0.5, b=1.0), **changes})


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


def stop_after(events: Iterator[Event], step: int) -> list[Event]:
    """Events up to the checkpoint of `step`: then the process is as if killed."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Saved) and event.step == step:
            return seen
    raise AssertionError(f"no checkpoint at step {step}")
