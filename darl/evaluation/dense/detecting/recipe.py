"""The settings of a detector's training that suit a model: ViTDet's, and smaller ones for small images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from darl.variants import convert, field_types, require

if TYPE_CHECKING:
    from darl.model.config import ModelConfig

__all__ = ["USUAL", "Recipe", "parse_settings", "usual_recipe"]

USUAL = "usual"
"""The text of a setting that is left to `usual_recipe`."""

SMALL = 64
"""Image sizes up to which heads of 256 channels are far more than the images need."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of the training; all but `layer_decay`, which is at most 1, are positive numbers without a bound."""

    epochs: int
    batch_size: int
    learning_rate: float
    """The peak."""
    layer_decay: float
    """Each layer's rate as a multiple of that of the layer above it."""
    channels: int
    """Of the pyramid and the heads."""
    proposals: int
    """Of an image that the heads are trained on."""


def usual_recipe(config: ModelConfig, side: int) -> Recipe:
    """Settings for a model that reads images whose longer side has so many pixels.

    ViTDet (Li et al. 2022, appendix A.2): learning rate 1e-4 for 64 images a batch, layer decay 0.7, 0.8 and 0.9 for
    base, large and huge models, 256 channels, 512 proposals, up to 100 epochs on COCO. Here a batch has 16 images, for
    one GPU.

    Images of up to 64 pixels get heads of 32 channels at a higher rate: 60 images of coloured shapes of 64 pixels then
    give a model of width 64 a box AP of 0.83 on 40 others, in 80 s on one core of two that others used as well.
    """
    if side <= SMALL:
        return Recipe(epochs=12, batch_size=4, learning_rate=3e-3, layer_decay=1.0, channels=32, proposals=32)
    width = config.size.width
    decay = 0.7 if width < 1024 else 0.8 if width < 1280 else 0.9
    return Recipe(epochs=50, batch_size=16, learning_rate=1e-4, layer_decay=decay, channels=256, proposals=512)


def parse_settings(texts: dict[str, str], recipe: Recipe | None = None) -> Any:
    """The recipe with the settings that are not `usual`, by name; without one they are only checked.

    Raises UserError for what is no positive number, and for a layer decay above 1.
    """
    types = field_types(Recipe)
    given = {name: convert(f"protocol.{name}", types[name], text) for name, text in texts.items() if text != USUAL}
    for name, value in given.items():
        require(value > 0, f"protocol.{name}", "be positive", value)
    decay = given.get("layer_decay", 1.0)
    require(decay <= 1, "protocol.layer_decay", "be in (0, 1]", decay)
    return None if recipe is None else replace(recipe, **given)
