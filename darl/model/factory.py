"""Models by name: `darl.create_model` for pretraining, `timm.create_model("darl_…")` for the encoder.

The timm models work like any timm ViT: classifier, pooling, feature maps, checkpointing, layer groups. They have no
causal mask unless asked for (`causal=True`, or a `checkpoint_path` of a causal run), as the paper drops the mask for
fine-tuning (section 4.1).
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from darl.model.config import ModelConfig
from darl.model.encoder_config import EncoderConfig, attention_fields, size_of
from darl.model.noise import Beta, Noise
from darl.model.objectives.base import Objective
from darl.model.orders import Order
from darl.model.positions import Position
from darl.model.random_orders import RandomOrder
from darl.model.tokenizers.base import Tokenizer
from darl.variants import Variant

if TYPE_CHECKING:
    from darl.model.darl import Darl

__all__ = ["create_model"]


def create_model(
    size: str | EncoderConfig,
    *,
    image_size: int | tuple[int, int] = 224,
    patch_size: int | None = None,
    channels: int = 3,
    objective: str | Objective = "diffusion",
    order: str | Order = "raster",
    position: str | Position = "rope2d",
    noise: str | Noise | tuple[float, float] | None = (0.03, 1.0),
    causal: bool | None = None,
    attention: str | None = None,
    context_noise: float | None = None,
    next_patches: int | None = None,
    condition: str | None = None,
    tokenizer: str | Tokenizer | None = None,
    token_input: bool | None = None,
    random_order: str | RandomOrder | None = None,
    readout: str | None = None,
    classes: int | None = None,
    seed: int = 0,
) -> "Darl":
    """A DARL model, ready to train.

    Args:
        size: `nano tiny small base large huge`, or an `EncoderConfig`.
        image_size: pixels, or (height, width).
        patch_size: pixels; by default that of `size`.
        channels: channels of the images.
        objective: text as on the command line, `diffusion:decoder_depth=2` (`Objective.kinds()` lists the names), or
            an `Objective`.
        order: text as on the command line (`Order.kinds()` lists the names), or an `Order`.
        position: text as on the command line (`Position.kinds()` lists the names), or a `Position`.
        noise: (a, b) of Beta, text as on the command line, `beta:a=0.03,b=1` (`Noise.kinds()` lists the names), or a
            `Noise`; ignored for an objective that uses none.
        causal: whether the encoder uses the causal mask; by default as the objective does (`mse`, `diffusion`: yes).
        attention: the same in words, `causal` or `full`; or `prefix`, with which the objectives that predict in order
            read a random prefix without mask (`darl.model.objectives.prefix`).
        context_noise: standard deviation of noise on the patches that the trunk reads in training (`mse`, `diffusion`).
        next_patches: how many next patches each output predicts in training, 2 or more (`mse`, `diffusion`).
        condition: `labels`: the start token knows the image's class in training (`mse`, `diffusion`); needs `classes`.
        tokenizer: text as on the command line (`Tokenizer.kinds()` lists the names), or a `Tokenizer`, for objective
            `tokens` and for `token_input`. The weights of a `dvae` are random until they are loaded
            (`darl.training.tokenizer.read_tokenizer`).
        token_input: whether each patch is read as its token.
        random_order: in training an order for each image, text as on the command line (`RandomOrder.kinds()` lists the
            names), or a `RandomOrder`; features are then read without mask.
        readout: `mean` or `last`: what `forward_head` gives.
        classes: number of classes, for an objective that learns labels (`supervised`), and for a condition.
        seed: seeds the initial weights.

    Raises UserError naming the argument, the value and the remedy.

    """
    changes = {"patch_size": patch_size, "readout": readout}
    given = {name: value for name, value in changes.items() if value is not None}
    chosen_objective = _variant(Objective, objective)
    masked = chosen_objective.causal_by_default and random_order is None
    reading: dict[str, Any] = {"causal": masked if causal is None else causal}
    if attention is not None:
        reading = attention_fields(attention, causal)
    schedule = Beta(a=noise[0], b=noise[1]) if isinstance(noise, tuple) else _variant(Noise, noise)
    config = ModelConfig(
        size=dataclasses.replace(size, **given) if isinstance(size, EncoderConfig) else size_of(size, **given),
        image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
        channels=channels,
        order=_variant(Order, order),
        position=_variant(Position, position),
        **reading,
        context_noise=context_noise,
        next_patches=next_patches,
        condition=condition,
        tokenizer=_variant(Tokenizer, tokenizer),
        token_input=token_input,
        random_order=_variant(RandomOrder, random_order),
        objective=chosen_objective,
        noise=schedule if chosen_objective.uses_noise else None,
        classes=classes,
    )
    return config.build(seed)


def _variant(family: type[Variant], value: Any) -> Any:
    """A variant of `family` from its text; any other value unchanged."""
    return family.parse(value) if isinstance(value, str) else value
