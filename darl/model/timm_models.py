"""The names under which timm creates darl's encoders: `timm.create_model("darl_base_patch16_224")` and the other sizes.

This module is imported right after timm (`darl.model.register`), perhaps while darl's own modules are still being
imported. So the encoder is imported only when a model is created.
"""

from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from darl.model.encoder_config import SIZES, EncoderConfig

__all__: list[str] = []  # `register_model` adds the names

_INPUT: dict[str, Any] = {
    "url": "",
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": None,
    "crop_pct": 0.9,
    "interpolation": "bicubic",
    "fixed_input_size": False,
    "mean": IMAGENET_DEFAULT_MEAN,
    "std": IMAGENET_DEFAULT_STD,
    "first_conv": "patch_embed.proj",
    "classifier": "head",
}

NAMES = {f"darl_{name}_patch{size.patch_size}_224": name for name, size in SIZES.items()}

default_cfgs = generate_default_cfgs(  # timm looks for this name in the module that registers a model
    {f"{name}.untrained": _INPUT for name in NAMES}
)


def _register(model_name: str, size_name: str, size: EncoderConfig) -> None:
    """Define the module-level function that timm calls for the name, and register it."""

    def create(pretrained: bool = False, **options: Any) -> nn.Module:
        from darl.model.timm_encoder import TimmEncoder

        return build_model_with_cfg(
            TimmEncoder,
            model_name,
            pretrained,
            pretrained_filter_fn=_from_pretraining,
            feature_cfg={"out_indices": options.pop("out_indices", 3), "feature_cls": "getter"},
            **{"size": size_name, "patch_size": size.patch_size, **options},
        )

    create.__name__ = create.__qualname__ = model_name
    create.__doc__ = f"Width {size.width}, depth {size.depth}, {size.heads} heads."
    globals()[model_name] = register_model(create)


def _from_pretraining(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The encoder's weights from those of a pretraining checkpoint; weights of an encoder alone are unchanged."""
    return {name.removeprefix("encoder."): value for name, value in state.items() if not name.startswith("decoder.")}


for _model_name, _size_name in NAMES.items():
    _register(_model_name, _size_name, SIZES[_size_name])
