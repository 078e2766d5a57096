"""`--recipe NAME`: settings by what they cost, for images of three sizes, with the figures that they were chosen by.

A recipe gives defaults: every flag and `--set` wins over it. Figures are top-1 accuracies on images held out of the
training split (of CIFAR-10 10,000, of Imagenette's subset 400), with one seed unless said otherwise.
"""

import math
from collections.abc import Mapping
from typing import Any

from darl.cli.fields import overlapping
from darl.variants import convert

__all__ = ["DIGITS", "RECIPES", "WARMUP_EPOCHS", "count_warmup", "recipe_for"]

WARMUP_EPOCHS = "optim.warmup_epochs"
"""In the place of `optim.warmup`: the warm-up in epochs, whatever their number; at most half of them."""

DIGITS: Mapping[str, Any] = {
    "model": "nano",
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
"""792 steps for the 1,438 training digits of 8 pixels.

Learning rate, batch, patch size, weight decay, averages: found by a random search of 128 settings, judged by
cross-validation on the training images alone. Two blocks and crops: by held-out fifths of the training images, where
crops of at least 0.8 of the area gave a linear probe of 97.9 % (none: 96.2 %, raw pixels: 96.9 %), kNN 99.0 % (98.3 %,
97.9 %) and with 5 labels a class 85.6 % (86.0 %, 82.0 %) in the one fold of 288 images that was run for both.
"""

SMALL: Mapping[str, Any] = {
    "model": "nano",
    "model.patch_size": 8,
    "epochs": 6,
    "batch_size": 128,
    "learning_rate": 4e-3,
    "augment.crop_min": 0.6,
    "optim.weight_decay": 0.3,
    "optim.beta2": 0.99,
    "optim.ema": 0.999,
}
"""Five minutes on one core for the 50,000 images of CIFAR-10.

Three seeds, beside raw pixels and the same model before training: linear probe 51.2 % (41.7, 42.3), kNN 41.6 % (44.4,
43.4), 5 labels a class 23.3 % (20.8, 21.3), attentive probe of 3 epochs 44.5 % (42.3, 37.3), fine-tuned in 3 epochs
46.9 % (from random weights 41.2). After four of these epochs, one seed, the linear probe had 49.2 %; with crops from
0.2 of the area, learning rate 2e-3, weight decay 0.05, beta2 0.95 and no average 47.3 %.
"""

LARGE: Mapping[str, Any] = {
    **SMALL, "image_size": 64, "model.patch_size": 16, "epochs": 60, "batch_size": 64, "optim.ema": 0.99,
}  # fmt: skip
"""Two minutes on one core for 1,200 photographs, read at 64 pixels.

On Imagenette's subset the linear probe had 35.8 %, kNN 31.8 %, 10 labels a class 25.5 % (before training 34.8, 30.5 and
24.6 %), one seed. With learning rate 2e-3, weight decay 0.05 and beta2 0.95 it had 32.5, 30.2 and 23.8 %; so trained,
patches of 8 gave 31.2, 28.5 and 23.9 % after 30 epochs, which cost more (before training 37.0, 31.2 and 25.6 %). These
1,200 images are few, and the gain over random weights is within the noise of 400 held-out ones.
"""

PAPER: Mapping[str, Any] = {
    "image_size": 224,
    "channels": 3,
    "model": "base",
    "model.patch_size": 16,
    "epochs": 400,
    "batch_size": 4096,
    "learning_rate": 2.4e-3,
    "augment.crop_min": 0.2,
    "augment.flip": True,
    "optim.weight_decay": 0.05,
    "optim.beta2": 0.95,
    WARMUP_EPOCHS: 40,
    "optim.ema": 0.0,
}
"""The paper's pretraining on ImageNet's 1.3 million images, for many GPUs; its others are `--model large` and
`--model huge` (with patches of 14 pixels). `darl pretrain --recipe paper --dry-run` prints what it costs.

Batch, AdamW's betas, weight decay, 40 epochs of warm-up, crops and flips are the paper's (arXiv 2403.05196). The
learning rate is MAE's for this batch, 1.5e-4 for 256 images (He et al. 2022, appendix A.1). Not measured here.
"""

RECIPES: Mapping[str, Mapping[float, Mapping[str, Any]]] = {
    "quick": {16: DIGITS, 64: SMALL, math.inf: LARGE},
    "paper": {math.inf: PAPER},
}
"""By name, and by the largest image size in pixels that they suit."""


_OF_SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {"paper": {"huge": {"model.patch_size": 14}}}
"""By name of the recipe and of the model's size, what changes with it."""


def recipe_for(name: str, image_size: int, model: str | None = None) -> Mapping[str, Any]:
    """The settings of a recipe for images of this many pixels a side, by the field's path; `model` is a size's name.

    model: the size that is asked for in the place of the recipe's own. `WARMUP_EPOCHS` may stand for `optim.warmup`.
    """
    settings = next(settings for most, settings in RECIPES[name].items() if image_size <= most)
    return {**settings, **_OF_SIZES.get(name, {}).get(model or settings["model"], {})}


def count_warmup(changes: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Bring `WARMUP_EPOCHS` into the record's unit, a fraction of the steps, unless that is among those `given`."""
    epochs = changes.pop(WARMUP_EPOCHS, None)
    if epochs is not None and not overlapping(given, "optim.warmup"):
        changes["optim.warmup"] = min(0.5, epochs / max(1, convert("epochs", int, str(changes["epochs"]))))
