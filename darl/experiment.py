"""The experiment: one frozen, validated record of everything that a run's result depends on.

A record is plain JSON values; its hash is the trial's id. What does not change the result (workers, storage, how often
it is evaluated) is not in it, nor is the code's version: the tables hold that.
"""

import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self, cast, get_args, get_type_hints

from darl.data import Augment, locate
from darl.errors import UserError
from darl.model.darl import Darl
from darl.model.encoder import EncoderConfig, initialize
from darl.model.noise import Beta, Noise
from darl.model.objectives.base import Objective
from darl.model.objectives.diffusion import Diffusion
from darl.model.orders import Order, Raster
from darl.model.patches import grid_of
from darl.model.positions import Position, Rotary2d
from darl.optim import Optimizer
from darl.variants import Record, Variant, convert, require

__all__ = ["Experiment", "columns", "flatten"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that one pretraining run depends on.

    Raises UserError, naming the field, the value and the remedy, where a value or a combination cannot be used.
    """

    data: str = "digits"
    """See `darl.data.locate`; local paths are absolute."""
    image_size: int = 8
    """Height and width in pixels."""
    channels: int = 1
    """1 (grey) or 3 (RGB)."""
    augment: Augment = field(default_factory=Augment)
    model: EncoderConfig = field(default_factory=lambda: EncoderConfig(width=64, depth=4, heads=4, patch_size=2))
    order: Order = field(default_factory=Raster)
    position: Position = field(default_factory=Rotary2d)
    causal: bool = True
    objective: Objective = field(default_factory=Diffusion)
    noise: Noise | None = field(default_factory=Beta)
    """Given for an objective that uses noise, None for others."""
    seed: int = 0
    """Of the initialisation, the data order, the augmentation and the noise."""
    epochs: int = 30
    batch_size: int = 128
    """Images per step over all workers."""
    accumulate: int = 1
    """Parts that a batch is cut into, one forward and backward pass each."""
    learning_rate: float = 2e-3
    """Peak."""
    optim: Optimizer = field(default_factory=Optimizer)
    precision: str = "auto"
    """float32, bfloat16 (autocast), or auto: bfloat16 on a GPU and float32 on a CPU."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", locate(self.data))
        for name in ("image_size", "epochs", "batch_size", "accumulate"):
            require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        require(self.channels in (1, 3), "channels", "be 1 (grey) or 3 (RGB)", self.channels)
        require(0 <= self.seed < 2**63, "seed", "be in [0, 2^63)", self.seed)
        finite = 0 < self.learning_rate < math.inf
        require(finite, "learning_rate", "be positive", self.learning_rate)
        require(
            self.precision in ("auto", "float32", "bfloat16"),
            "precision",
            "be auto, float32 or bfloat16",
            self.precision,
        )
        whole = self.batch_size % self.accumulate == 0
        require(whole, "batch_size", f"be a multiple of accumulate {self.accumulate}", self.batch_size)
        needs = self.objective.uses_noise
        remedy = f"be {'given' if needs else 'left out'} for objective {self.objective.kind}"
        require((self.noise is not None) == needs, "noise", remedy, self.noise and str(self.noise))
        grid = grid_of((self.image_size, self.image_size), self.model.patch_size)
        require(
            grid != (1, 1),
            "patch_size",
            f"leave more than one patch of image_size {self.image_size}",
            self.model.patch_size,
        )
        self.position.build(grid, self.model.width, self.model.width // self.model.heads)

    def build(self) -> Darl:
        """The model, initialised from the seed."""
        model = Darl(
            self.model,
            image_size=(self.image_size, self.image_size),
            channels=self.channels,
            order=self.order,
            position=self.position,
            causal=self.causal,
            objective=self.objective,
            noise=self.noise,
        )
        initialize(model, self.seed)
        return model

    @property
    def data_key(self) -> str:
        """What decides which decoded data it uses."""
        return f"{self.data} at {self.image_size} pixels in {self.channels} channels"

    def to_record(self) -> Record:
        """Plain JSON values, nested as the fields are."""
        return cast("Record", _plain(self))

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        return cast("Self", _read(cls, record, "experiment"))

    def to_json(self) -> str:
        """Canonical: sorted keys, no blanks. Equal experiments have equal texts."""
        return json.dumps(self.to_record(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def trial_id(self) -> str:
        """Twelve hexadecimal digits of the record's SHA-256."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def changed(self, changes: dict[str, Any]) -> Self:
        """A copy with fields set by dotted path, e.g. `{"noise.a": 0.1, "order": "hilbert", "optim.clip": "0.5"}`.

        A text is read as the field's type says: a number, `true` or `false`, a variant, `none` where that is allowed.
        All changes are one: `{"objective": "mse", "noise": None}` is never seen half. A field that is set whole is set
        before its own fields. Raises UserError for a path that is no field and for a value of another type.
        """
        return cast("Self", _changed(self, {tuple(path.split(".")): value for path, value in changes.items()}))


def flatten(record: Record) -> Record:
    """A record as one row: columns named by path with underscores; a variant's kind stands under its own name."""
    return dict(_flat(record, ""))


def columns() -> dict[str, type]:
    """Every column that any experiment's record can have, with its plain type."""
    return dict(_columns(Experiment, ""))


def _flat(record: Record, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(cast("Record", value), f"{prefix}{name}_")
        else:
            yield (prefix[:-1] if name == "kind" else prefix + name), value


def _columns(kind: Any, prefix: str) -> Iterator[tuple[str, type]]:
    if issubclass(kind, Variant):
        yield prefix[:-1], str
        for variant in kind.kinds().values():
            for item in dataclasses.fields(variant):
                yield from _columns(item.type, f"{prefix}{item.name}_")
    elif dataclasses.is_dataclass(kind):
        for name, hint in get_type_hints(kind).items():
            yield from _columns(_bare(hint), f"{prefix}{name}_")
    else:
        yield prefix[:-1], kind


def _plain(value: Any) -> Any:
    if isinstance(value, Variant):
        return value.to_record()
    if not dataclasses.is_dataclass(value):
        return value
    hints = get_type_hints(type(value))
    record: Record = {}
    for name, hint in hints.items():  # 1 for a float is 1.0: equal experiments have equal texts
        part = getattr(value, name)
        record[name] = float(part) if hint is float else _plain(part)
    return record


def _bare(hint: Any) -> type:
    """`X` of `X | None`."""
    if isinstance(hint, types.UnionType):
        return next(part for part in get_args(hint) if part is not types.NoneType)
    return hint


def _read(kind: Any, value: Any, where: str) -> Any:
    if value is None or not isinstance(value, dict):
        return value
    record = cast("Record", value)
    if issubclass(kind, Variant):
        return kind.from_record(record)
    hints = get_type_hints(kind)
    for name in record:
        require(name in hints, where, f"have a field among {', '.join(hints)}", name)
    return kind(**{name: _read(_bare(hints[name]), part, f"{where}.{name}") for name, part in record.items()})


def _changed(whole: Any, changes: dict[tuple[str, ...], Any], where: str = "") -> Any:
    """`whole` with fields set by path; `where` is the path of `whole` with a dot behind it, for errors."""
    kind = cast("Any", type(whole))
    names = _field_names(kind)
    new: dict[str, Any] = {}
    for name in dict.fromkeys(path[0] for path in changes):
        path = where + name
        if name not in names:  # it is no field: the error has none
            remedy = f"be a field of {kind.__name__}, one of {', '.join(names)}" if names else "be left out"
            raise UserError(f"{path} must {remedy}, got {name!r}")
        parts = {longer[1:]: value for longer, value in changes.items() if longer[0] == name}
        value = _from_text(get_type_hints(kind)[name], parts.pop((), getattr(whole, name)), path)
        new[name] = _changed(value, parts, f"{path}.") if parts else value
    return dataclasses.replace(whole, **new)


def _field_names(kind: Any) -> list[str]:
    """Of a dataclass; none of another type."""
    return [item.name for item in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _from_text(hint: Any, value: Any, where: str) -> Any:
    """A field's value from its text, by the field's annotation; any other value as it is."""
    kind = cast("Any", _bare(hint))
    if not isinstance(value, str) or kind is str:
        return value
    if value == "none" and kind is not hint:
        return None
    if issubclass(kind, Variant):
        return kind.parse(value)
    paths = ", ".join(f"{where}.{name}" for name in _field_names(kind))
    require(not paths, where, f"be set by its fields ({paths})", value)
    number = convert(where, kind, value)
    require(not isinstance(number, float) or math.isfinite(number), where, "be a finite number", value)
    return number
