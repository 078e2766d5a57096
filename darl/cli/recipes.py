"""Settings that were measured to work, by the scale of the images."""

from collections.abc import Mapping
from typing import Any

__all__ = ["DIGITS"]

DIGITS: Mapping[str, Any] = {
    "epochs": 36,
    "batch_size": 64,
    "learning_rate": 4e-3,
    "model.patch_size": 4,
    "model.depth": 2,
    "augment.crop_min": 0.8,
    "optim.weight_decay": 0.3,
    "optim.beta2": 0.99,
    "optim.ema": 0.99,
}
"""Found by a random search of 128 settings, judged by cross-validation on the training images alone."""
