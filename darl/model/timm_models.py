"""The names under which timm creates darl's encoders: `timm.create_model("darl_base_patch16_224")` and the other sizes.

This module is imported right after timm (`darl.model.register`), perhaps while darl's own modules are still being
imported. So the encoder is imported only when a model is created.
"""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, create_model, generate_default_cfgs, register_model
from torch import nn

from darl.errors import UserError
from darl.model.encoder_config import SIZES, EncoderConfig
from darl.model.weights import accept_pretraining, checkpoint_path, encoder_weights, read_origin

__all__: list[str] = []  # `register_model` adds the names

_INPUT: dict[str, Any] = {
    "url": "",
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": None,
    "crop_pct": 0.9,
    "interpolation": "bicubic",
    "fixed_input_size": True,  # by which timm means that a model takes `img_size`
    "mean": IMAGENET_DEFAULT_MEAN,
    "std": IMAGENET_DEFAULT_STD,
    "first_conv": "patch_embed.proj",
    "classifier": "head",
}

SOURCES = ("source", "file", "url", "state_dict", "hf_hub_id")
"""The entries of timm's `pretrained_cfg` that say where weights are, and of which kind they are."""

RECONSTRUCTION = (
    "img_size", "patch_size", "in_chans", "global_pool", "qk_norm", "init_values", "swiglu_mlp", "order", "position",
    "causal", "tokenizer",
)  # fmt: skip
"""The settings that weights decide: a model that timm saves must be created with them again."""

NAMES = {f"darl_{name}_patch{size.patch_size}_224": name for name, size in SIZES.items()}

default_cfgs = generate_default_cfgs(  # timm looks for this name in the module that registers a model
    {f"{name}.untrained": _INPUT for name in NAMES}
)


def _register(model_name: str, size: EncoderConfig) -> None:
    """Define the module-level function that timm calls for the name, and register it."""

    def create(pretrained: bool = False, **options: Any) -> nn.Module:
        return _create(model_name, size, pretrained, options)

    create.__name__ = create.__qualname__ = model_name
    create.__doc__ = f"Width {size.width}, depth {size.depth}, {size.heads} heads."
    globals()[model_name] = register_model(create)


def _create(model_name: str, size: EncoderConfig, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """The encoder, or timm's wrapper of it that gives feature maps; settings of known weights are taken from them."""
    from darl.model.timm_encoder import TimmEncoder

    checkpoint, sources = checkpoint_path(create_model), _sources(options)
    saved_by_timm = sources["source"] == "local-dir"  # then `file` is a folder that also holds the settings
    file = checkpoint or (sources["file"] if pretrained and not saved_by_timm else None)
    _require_weights(model_name, pretrained, bool(file or any(sources.values())))
    origin = None if file is None else read_origin(file)
    settings: dict[str, Any] = {"size": size, "patch_size": size.patch_size}
    if origin is not None:
        origin.require_size(model_name, size)
        settings |= origin.options({name: value for name, value in options.items() if value is not None})
        settings["pretrained_cfg_overlay"] = origin.preprocessing(options.get("pretrained_cfg_overlay") or {})
    model = build_model_with_cfg(
        TimmEncoder,
        model_name,
        pretrained and checkpoint is None,
        pretrained_filter_fn=encoder_weights,
        feature_cfg={"out_indices": options.pop("out_indices", 3), "feature_cls": "getter"},
        **{**options, **settings} if origin else {**settings, **options},
    )
    if origin is not None:  # timm writes these into the configuration of a model that it saves
        arguments = {name: settings[name] for name in RECONSTRUCTION if name in settings}
        model._model_args = arguments  # pyright: ignore[reportArgumentType]  (a plain attribute)
    return model if isinstance(model, TimmEncoder) else accept_pretraining(model)


def _sources(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where timm finds pretrained weights, of the configuration and its overlay that were given."""
    given, overlay = options.get("pretrained_cfg"), options.get("pretrained_cfg_overlay") or {}
    entries = asdict(given) if is_dataclass(given) and not isinstance(given, type) else given
    return {key: ((entries if isinstance(entries, dict) else {}) | overlay).get(key) for key in SOURCES}


def _require_weights(model_name: str, pretrained: bool, known: bool) -> None:
    if pretrained and not known:
        raise UserError(
            f"must be False for {model_name}, got True: no weights are published under this name; give your own as "
            "checkpoint_path='RUN/step-…/model.safetensors', or use darl.load('RUN')",
            field="pretrained",
        )


for _model_name, _size_name in NAMES.items():
    _register(_model_name, SIZES[_size_name])
