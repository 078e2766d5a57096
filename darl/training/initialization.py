"""Initial weights from a file: those of a DARL checkpoint, or of a stock timm ViT.

The encoder's parameters have the names and shapes of timm's ViT, with two exceptions: `start_token` replaces the class
token (its row of `pos_embed` is added, since the ViT's blocks read the sum), and `position.table` holds the patches'
rows of `pos_embed`. So an encoder with learned positions and without causal mask gives the ViT's own patch features.

A run's record identifies the weights by a hash of their content (names, types, shapes and values), not by their
address: the same weights in another place, or in a file of another format, give the same record.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models import load_state_dict
from torch import Tensor

from darl.errors import UserError, reason
from darl.experiment import Experiment
from darl.model.patches import Grid, grid_of
from darl.model.positions import Absent, Learned, Position
from darl.training.checkpoint import local_weights
from darl.training.description import Description, read_weights
from darl.variants import require

__all__ = ["Initialization", "read_initialization", "weights_fingerprint"]

_PATCHES, _TABLE, _START = "encoder.patch_embed.proj.weight", "encoder.position.table", "encoder.start_token"

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Initialization:
    """Weights that fit a run's model, and the names of those that did not fit."""

    weights: Weights
    """Tensors by the model's parameter names, in the model's shapes."""
    fingerprint: str
    """What `Experiment.init` holds: `sha256:` and 16 hexadecimal digits."""
    missing: tuple[str, ...]
    """Parameters of the model that the file lacks: initialised from the seed. A tokenizer's are not among them."""
    unexpected: tuple[str, ...]
    """Weights in the file that the model lacks: left out."""
    reshaped: tuple[str, ...]
    """Parameters whose shapes differ, with both shapes: initialised from the seed."""
    resampled: tuple[str, ...]
    """Parameters resampled from another grid or patch size, with both shapes."""

    def describe(self) -> Iterator[str]:
        """Lines that say what was taken, resampled and left out."""
        yield f"{len(self.weights)} of {len(self.weights) + len(self.missing) + len(self.reshaped)} tensors taken"
        lists = {
            "resampled": self.resampled,
            "not among the weights, initialised from the seed": self.missing,
            "of another shape, initialised from the seed": self.reshaped,
            "not of the model, left out": self.unexpected,
        }
        yield from (f"{what}: {', '.join(names)}" for what, names in lists.items() if names)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Weights by `Darl`'s parameter names, and the position encoding and grid of their encoder."""

    name: str
    weights: Weights
    position: Position | None
    """None where the file does not tell the position encoding."""
    grid: Grid | None = None


def read_initialization(name: str, experiment: Experiment, *, resample: bool = False) -> Initialization:
    """The weights of `name` for the model of an experiment.

    Args:
        name: a DARL checkpoint, a run's folder (its newest checkpoint) or a .safetensors or .pth file, also at s3:// or
            gs://; or `timm:NAME`, timm's pretrained weights of that name.
        experiment: the run's configuration, `init` not yet set.
        resample: resample the patch embedding to another patch size (timm's `resample_patch_embed`) and a learned
            position table to another grid (`resample_abs_pos_embed`); otherwise such weights are refused.

    Raises UserError where they cannot be read, or have another width, position encoding, patch size or grid.

    """
    state, source = _read(name)
    expected = experiment.build().state_dict()
    _require_same_encoder(source, experiment)
    weights = dict(source.weights)
    resampled = tuple(_resample(weights, source, experiment, allowed=resample))
    common = [key for key in expected if key in weights]
    fits = [key for key in common if weights[key].shape == expected[key].shape]
    return Initialization(
        weights={key: weights[key].to(expected[key].dtype) for key in fits},
        fingerprint=weights_fingerprint(state),
        missing=tuple(key for key in expected if key not in weights and ".tokenizer." not in key),
        unexpected=tuple(key for key in weights if key not in expected),
        reshaped=tuple(_shapes(key, weights[key], expected[key]) for key in common if key not in fits),
        resampled=resampled,
    )


def weights_fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A hash of names, types, shapes and values, independent of the weights' order and file format."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"


def _read(name: str) -> tuple[Weights, _Source]:
    """The weights under the names in the file, and under `Darl`'s names."""
    if name.startswith("timm:"):
        try:
            state = timm.create_model(name.removeprefix("timm:"), pretrained=True).state_dict()
        except Exception as error:  # whatever timm, the Hub or the network raises
            raise UserError(
                f"must name a model with pretrained weights in timm, got {name!r} ({reason(error)})", field="init"
            ) from None
        return state, _from_timm(name, state)
    with local_weights(name, "init") as file:
        try:
            state, description = _load(file)
        except UserError:  # the description is of a variant that is not known
            raise
        except Exception as error:  # whatever a broken file makes torch and safetensors raise
            raise UserError(f"must be a whole file of weights, got {name!r} ({reason(error)})", field="init") from None
    if "start_token" in state:  # an encoder alone, by `darl export` or saved through timm
        state = {f"encoder.{key}": value for key, value in state.items()}
    if description is not None:
        experiment = description.experiment
        require(not experiment.trains_tokenizer, "init", "be of a model, and this is a tokenizer", name)
        size = (experiment.image_size, experiment.image_size)
        grid = grid_of(size, experiment.model.patch_size)
        return state, _Source(name=name, weights=state, position=experiment.position, grid=grid)
    if _START in state:
        return state, _Source(name=name, weights=state, position=Learned() if _TABLE in state else None)
    return state, _from_timm(name, state)


def _load(file: Path) -> tuple[Weights, Description | None]:
    """Weights, and DARL's own description where there is one. No code of the file is run."""
    if file.suffix != ".safetensors":
        return load_state_dict(str(file), weights_only=True), None
    return read_weights(file)


def _from_timm(name: str, state: Weights) -> _Source:
    """The weights of a timm ViT under `Darl`'s names."""
    remedy = "be the weights of a DARL model or of a ViT of timm's, with patch_embed.proj.weight"
    require("patch_embed.proj.weight" in state, "init", remedy, name)
    weights = {f"encoder.{key}": value for key, value in state.items() if key not in ("cls_token", "pos_embed")}
    table, start = state.get("pos_embed"), state.get("cls_token")
    position: Position = Absent()
    if table is not None:
        prefix = _prefix_rows(name, state, table.shape[1])
        position, weights[_TABLE] = Learned(), table[:, prefix:]
        start = start + table[:, :1] if start is not None and prefix else start
    if start is not None:
        weights[_START] = start
    return _Source(name=name, weights=weights, position=position)


def _prefix_rows(name: str, state: Weights, rows: int) -> int:
    """The number of rows of a ViT's `pos_embed` before those of the patches, which form a square grid.

    timm gives a row to each class and register token, the class token's first, or (`no_embed_class`) to none of them.
    """
    tokens = sum(state[key].shape[1] for key in ("cls_token", "reg_token") if key in state)
    for prefix in (tokens, 0):
        if rows > prefix and math.isqrt(rows - prefix) ** 2 == rows - prefix:
            return prefix
    raise UserError(
        f"must have positions of a square grid of patches, got {name!r} with {rows} positions, "
        f"{tokens} of them or none before the patches",
        field="init",
    )


def _require_same_encoder(source: _Source, experiment: Experiment) -> None:
    """Raise UserError where the width or the position encoding differs."""
    reads_pixels = _PATCHES in source.weights
    width = source.weights[_PATCHES].shape[0] if reads_pixels else source.weights[_START].shape[-1]
    if width != experiment.model.width:
        raise UserError(
            f"must have the run's width {experiment.model.width}, got {source.name!r} with {width}", field="init"
        )
    if source.position is not None and source.position != experiment.position:
        raise UserError(
            f"must have the run's position encoding {experiment.position}, got {source.name!r} with "
            f"{source.position}; give the run that position encoding, or other weights",
            field="init",
        )


def _resample(weights: Weights, source: _Source, experiment: Experiment, *, allowed: bool) -> Iterator[str]:
    """Bring patch embedding and position table to the run's patch size and grid; yields what was resampled."""
    patches, size = weights.get(_PATCHES), experiment.model.patch_size  # None where tokens are read
    if patches is not None and patches.shape[-1] != size:
        _require_allowed(allowed, f"patch size {size}", source.name, f"{patches.shape[-1]}")
        weights[_PATCHES] = resample_patch_embed(patches.float(), [size, size])
        yield _shapes(_PATCHES, patches, weights[_PATCHES])
    grid, table = grid_of((experiment.image_size, experiment.image_size), size), weights.get(_TABLE)
    if table is not None and table.shape[1] != grid[0] * grid[1]:
        old = source.grid or (math.isqrt(table.shape[1]),) * 2
        _require_allowed(allowed, f"grid of {grid[0]} x {grid[1]} positions", source.name, f"{old[0]} x {old[1]}")
        weights[_TABLE] = resample_abs_pos_embed(table, list(grid), list(old), num_prefix_tokens=0)
        yield _shapes(_TABLE, table, weights[_TABLE])


def _require_allowed(allowed: bool, what: str, name: str, got: str) -> None:
    if not allowed:
        raise UserError(
            f"must have the run's {what}, got {name!r} with {got}; give the run that one, or init_resample",
            field="init",
        )


def _shapes(name: str, given: Tensor, wanted: Tensor) -> str:
    return f"{name} ({'x'.join(map(str, given.shape))} for {'x'.join(map(str, wanted.shape))})"
