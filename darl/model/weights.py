"""What a DARL weights file says of the encoder in it, and its weights under the encoder's own names.

The file's metadata holds the record of the run (`darl.training.description` writes it). Part of it does not show in the
weights: two position encodings without parameters give weights of equal names and shapes, but other features. So a
model that takes the weights takes these settings from the file, and refuses arguments that contradict them.
"""

import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from darl.errors import UserError, reason
from darl.model.encoder_config import EncoderConfig, TrunkConfig
from darl.model.orders import Order
from darl.model.positions import Position
from darl.model.tokenizers.base import Tokenizer

__all__ = [
    "METADATA_KEY",
    "Origin",
    "accept_pretraining",
    "checkpoint_path",
    "encoder_weights",
    "pretrained_cfg",
    "read_origin",
]

METADATA_KEY = "darl"
"""The only key of the metadata: safetensors writes several keys in no fixed order, so equal weights would not give
equal files."""

_START, _TABLE = "start_token", "position.table"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The encoder that weights were made with."""

    trunk: TrunkConfig
    mean: tuple[float, ...]
    """Mean of the training images' pixels per channel, in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation of the training images' pixels per channel."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """What the metadata of a safetensors file says; None for a file that DARL did not write. Raises UserError."""
        if METADATA_KEY not in metadata:
            return None
        record = json.loads(metadata[METADATA_KEY])
        run = record["experiment"]
        trunk = TrunkConfig(
            size=EncoderConfig(**run["model"]),
            image_size=(run["image_size"], run["image_size"]),
            channels=run["channels"],
            order=Order.from_record(run["order"]),
            position=Position.from_record(run["position"]),
            causal=run["causal"],
            tokenizer=Tokenizer.from_record(run["tokenizer"]) if run.get("token_input") else None,
            token_input=run.get("token_input"),
        )
        return cls(trunk=trunk, mean=tuple(record["mean"]), std=tuple(record["std"]))

    def options(self, given: Mapping[str, Any], remedy: str = "leave it out") -> dict[str, Any]:
        """Arguments of `TimmEncoder` for these weights: those given, and the weights' own for all others.

        Images may have another size than in training. Raises UserError for any other argument that contradicts the
        weights; `remedy` ends the message.
        """
        trunk, size = self.trunk, self.trunk.size
        own = {
            "patch_size": size.patch_size,
            "in_chans": trunk.channels,
            "global_pool": {"mean": "avg", "last": "token"}[size.readout],
            **size.parts,
            "order": str(trunk.order),
            "position": str(trunk.position),
            "causal": trunk.causal,
            **({"tokenizer": str(trunk.tokenizer)} if trunk.token_input else {}),
        }
        for name, value in own.items():
            if name in given and not _agrees(name, given[name], value):
                raise UserError(_refusal(name, value, given[name], remedy), field=name)
        return {"img_size": trunk.image_size, **own, **given}

    def preprocessing(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Entries of timm's `pretrained_cfg` for these weights, and those given. Raises UserError as `options`."""
        for name, value in (("mean", self.mean), ("std", self.std)):
            if name in given and [*given[name]] != [*value]:
                raise UserError(_refusal(name, value, given[name], "leave it out"), field=name)
        size = (self.trunk.channels, *self.trunk.image_size)
        return {"mean": self.mean, "std": self.std, "input_size": size, "crop_pct": 1.0, **given}

    def pretrained_cfg(self, num_classes: int) -> dict[str, Any]:
        """timm's `pretrained_cfg` of an encoder with these weights, for images of the training's size."""
        return pretrained_cfg(num_classes, **self.preprocessing({}))

    def require_size(self, name: str, size: EncoderConfig) -> None:
        """Raise UserError unless the model `name` has the weights' width, depth, heads and MLP ratio."""
        given = {name: getattr(size, name) for name in ("patch_size", "readout", "qk_norm", "init_values", "swiglu")}
        own = replace(self.trunk.size, **given)
        if own != size:
            raise UserError(
                f"must have the checkpoint's {_widths(own)}, got {name} with {_widths(size)}; name the model of that "
                "size, or use darl.load(RUN), which takes every size",
                field="model",
            )


def pretrained_cfg(num_classes: int, **preprocessing: Any) -> dict[str, Any]:
    """What timm keeps of a model as `pretrained_cfg`, as plain JSON values.

    preprocessing: `input_size` (channels, height, width), `mean` and `std`.
    """
    names = {"first_conv": "patch_embed.proj", "classifier": "head"}
    return {"num_classes": num_classes, "interpolation": "bicubic", "crop_pct": 1.0, **names, **preprocessing}


def read_origin(file: str | Path) -> Origin | None:
    """What a weights file says of its encoder; None for a file that DARL did not write. Raises UserError."""
    from safetensors import SafetensorError, safe_open

    if not Path(file).is_file():
        remedy = "be a weights file, as RUN/step-…/model.safetensors (darl.load takes the folder RUN)"
        raise UserError(f"must {remedy}, got {str(file)!r}", field="checkpoint_path")
    if Path(file).suffix != ".safetensors":
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        text = f"must be a whole safetensors file, got {str(file)!r} ({reason(error)})"
        raise UserError(text, field="checkpoint_path") from None
    return Origin.from_metadata(metadata)


def checkpoint_path(function: Callable[..., Any]) -> str | Path | None:
    """The `checkpoint_path` of the call of one of timm's functions that is under way; None without one.

    timm creates a model before it reads the checkpoint, and gives the path only to its own loader, which hands on the
    weights without the metadata. Both depend on the file, so the argument is read from the frame of timm's function.
    """
    frame = sys._getframe()
    while frame is not None and frame.f_code is not inspect.unwrap(function).__code__:
        frame = frame.f_back
    return None if frame is None else frame.f_locals.get("checkpoint_path") or None


def encoder_weights(state: Mapping[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Weights that `encoder` can load, from those of a pretraining run or of an encoder.

    Of a pretraining run's, the decoder's are left out, and so are those of blocks that the encoder has no more. Where
    the weights have no classifier, the encoder's stays as it is. A learned position table is resampled to the encoder's
    grid.
    """
    own, weights = encoder.state_dict(), dict(state)
    if f"encoder.{_START}" in weights:
        shortened = {name.removeprefix("encoder."): value for name, value in state.items()}
        weights = {name: value for name, value in shortened.items() if name in own or not _is_needless(name)}
    if _START in weights and not any(name.startswith("head.") for name in weights):
        weights |= {name: value for name, value in own.items() if name.startswith("head.")}
    table = weights.get(_TABLE)
    if table is not None and _TABLE in own and table.shape[1] != own[_TABLE].shape[1]:
        weights[_TABLE] = _resampled(table, encoder)
    return weights


def accept_pretraining(model: nn.Module) -> nn.Module:
    """The model, whose `load_state_dict` takes a pretraining run's weights too.

    model: an encoder, or a module of timm's that holds one as `model` to give its feature maps.
    """
    if hasattr(model, _START) or hasattr(getattr(model, "model", None), _START):
        model.register_load_state_dict_pre_hook(_translate)
    return model


def _translate(model: Any, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Bring weights into the encoder's names and shapes, in place, before `model` loads them."""
    from timm.models import load_checkpoint

    encoder, inner = (model, prefix) if hasattr(model, _START) else (model.model, f"{prefix}model.")
    found = "" if not prefix and "encoder.start_token" in state else inner
    own = {name.removeprefix(found): state.pop(name) for name in list(state) if name.startswith(found)}
    file = checkpoint_path(load_checkpoint)
    origin = None if file is None else read_origin(file)
    if origin is not None:
        origin.options(
            encoder.settings(), remedy="give checkpoint_path to timm.create_model, which takes it from the file"
        )
    state.update({f"{inner}{name}": value for name, value in encoder_weights(own, encoder).items()})


def _is_needless(name: str) -> bool:
    """Whether an encoder may lack the weight: the decoder's, and those that timm's feature extraction cuts off."""
    return name.startswith(("decoder.", "adaptation.", "blocks.", "norm."))


def _resampled(table: Tensor, encoder: nn.Module) -> Tensor:
    from timm.layers import resample_abs_pos_embed

    side = math.isqrt(table.shape[1])
    if side * side != table.shape[1]:
        text = f"must be of a square grid of patches to be resampled, got {table.shape[1]} positions"
        raise UserError(text, field=_TABLE)
    return resample_abs_pos_embed(table, list(encoder.grid), [side, side], num_prefix_tokens=0)  # pyright: ignore


def _agrees(name: str, given: Any, own: Any) -> bool:
    """Whether an argument says the same as the weights; features may be left unpooled."""
    if name in ("order", "position"):
        return str((Order if name == "order" else Position).parse(given)) == own
    if name == "global_pool":
        return given in ("", own)
    return given in (own, (own, own), [own, own]) if name == "patch_size" else given == own


def _refusal(name: str, own: Any, given: Any, remedy: str) -> str:
    afterwards = ", and may be set afterwards (encoder.causal = False) to fine-tune without the mask"
    more = afterwards if name == "causal" and own else ""
    return f"must be {own!r}, the checkpoint's{more}, got {given!r}; {remedy}"


def _widths(size: EncoderConfig) -> str:
    return f"width {size.width}, depth {size.depth}, {size.heads} heads, MLP ratio {size.mlp_ratio:g}"
