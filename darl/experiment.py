"""The experiment: one frozen, validated record of everything that a run's result depends on.

A record consists of plain JSON values. It leaves out what does not change the result (workers, storage, the number of
evaluations) and the version of the code, which the tables hold. A trial's id is the hash of the record's `identity`,
which has the content of the data in place of its address: the same data at another address gives the same ids.
"""

import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast, get_args, get_type_hints

from darl.aspects import Aspect, aspect_of, changes
from darl.data.augment import Augment
from darl.data.content import DataContent
from darl.errors import UserError
from darl.model.config import ModelConfig
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta, Noise
from darl.model.objectives.base import Objective
from darl.model.objectives.diffusion import Diffusion
from darl.model.orders import Order, Raster
from darl.model.positions import Position, Rotary2d
from darl.optim import Optimizer
from darl.variants import Record, Variant, convert, require

if TYPE_CHECKING:
    from darl.model.darl import Darl

__all__ = ["Experiment", "aspects", "columns", "flatten", "identity", "read_experiments"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that one pretraining run depends on. Raises UserError for values that cannot be used (together)."""

    data: str = changes(Aspect.INPUT, default="digits")
    """The canonical name of the data set, from `darl.data.locate`. Nothing is opened here."""
    content: DataContent | None = changes(Aspect.INPUT, default=None)
    """Image counts and fingerprint of the data; None until it has been opened, and in records of older versions."""
    image_size: int = changes(Aspect.INPUT, default=8)
    """Height and width in pixels."""
    channels: int = changes(Aspect.INPUT, default=1)
    """1 (grey) or 3 (RGB)."""
    augment: Augment = field(default_factory=Augment)
    model: EncoderConfig = field(default_factory=lambda: EncoderConfig(width=64, depth=4, heads=4, patch_size=2))
    order: Order = changes(Aspect.INPUT, default_factory=Raster)
    position: Position = changes(Aspect.MODEL, default_factory=Rotary2d)
    causal: bool = changes(Aspect.INPUT, default=True)
    objective: Objective = changes(Aspect.TARGET, default_factory=Diffusion)
    noise: Noise | None = changes(Aspect.LOSS, default_factory=Beta)
    """The noise schedule of an objective that uses noise; None for other objectives."""
    seed: int = changes(Aspect.CHANCE, default=0)
    """Seed of the initialisation, the data order, the augmentation and the noise; in [0, 2^63)."""
    epochs: int = changes(Aspect.TRAINING, default=30)
    batch_size: int = changes(Aspect.TRAINING, default=128)
    """Images per step over all workers."""
    accumulate: int = changes(Aspect.TRAINING, default=1)
    """Micro-batches per step (gradient accumulation), at least 1; must divide the batch."""
    learning_rate: float = changes(Aspect.TRAINING, default=2e-3)
    """Peak of the learning-rate schedule."""
    optim: Optimizer = field(default_factory=Optimizer)
    precision: str = changes(Aspect.TRAINING, default="auto")
    """float32, bfloat16 (autocast), or auto: bfloat16 on a GPU and float32 on a CPU."""
    init: str | None = changes(Aspect.TRAINING, default=None)
    """Content hash of the weights that the run starts from (`darl.training.initialization`); None for random weights.
    A record leaves it out where it is None, so that the ids of trials of earlier versions stay as they are."""

    def __post_init__(self) -> None:
        require(bool(self.data), "data", "be named", self.data)
        for name in ("image_size", "epochs", "batch_size", "accumulate"):
            require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        require(self.channels in (1, 3), "channels", "be 1 (grey) or 3 (RGB)", self.channels)
        require(0 <= self.seed < 2**63, "seed", "be in [0, 2^63)", self.seed)
        require(0 < self.learning_rate < math.inf, "learning_rate", "be positive", self.learning_rate)
        is_known = self.precision in ("auto", "float32", "bfloat16")
        require(is_known, "precision", "be auto, float32 or bfloat16", self.precision)
        divides = self.batch_size % self.accumulate == 0
        require(divides, "batch_size", f"be a multiple of accumulate {self.accumulate}", self.batch_size)
        remedy = f"leave more than one patch of image_size {self.image_size}"
        require(self.model_config.grid != (1, 1), "patch_size", remedy, self.model.patch_size)

    @property
    def model_config(self) -> ModelConfig:
        """What the model is built from; raises UserError where the fields do not fit together."""
        return ModelConfig(
            size=self.model,
            image_size=(self.image_size, self.image_size),
            channels=self.channels,
            order=self.order,
            position=self.position,
            causal=self.causal,
            objective=self.objective,
            noise=self.noise,
        )

    def build(self) -> "Darl":
        """The model, initialised from the seed."""
        return self.model_config.build(self.seed)

    @property
    def data_key(self) -> str:
        """Key of the decoded data that this experiment trains on; by address, since a command reads an address once."""
        return f"{self.data} at {self.image_size} pixels in {self.channels} channels"

    def to_record(self) -> Record:
        """Plain JSON values, nested as the fields are; without `content` and `init` where they are None."""
        return cast("Record", _plain(self))

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        return cast("Self", _read(cls, record, "experiment"))

    def to_json(self) -> str:
        """The record as canonical JSON (sorted keys, no blanks): equal experiments have equal texts."""
        return _canonical(self.to_record())

    @property
    def identity(self) -> Record:
        """The part of the record that the trial's id is the hash of: see `darl.experiment.identity`."""
        return identity(self.to_record())

    @property
    def trial_id(self) -> str:
        """Twelve hexadecimal digits of the identity's SHA-256."""
        return hashlib.sha256(_canonical(self.identity).encode()).hexdigest()[:12]

    def knowing(self, contents: Mapping[str, DataContent]) -> Self:
        """The experiment, with `content` taken from `contents` (by address) where it is None and known there."""
        content = contents.get(self.data)
        return self if self.content is not None or content is None else dataclasses.replace(self, content=content)

    def is_same(self, config: str) -> bool:
        """Whether a row's `config` describes this trial; rows of older versions hold no content of the data."""
        contents = {} if self.content is None else {self.data: self.content}
        before = read_experiments([config], contents)[0]
        return before is not None and before.trial_id == self.trial_id

    def changed(self, changes: dict[str, Any]) -> Self:
        """A copy with fields set by dotted path, e.g. `{"noise.a": 0.1, "order": "hilbert", "optim.clip": "0.5"}`.

        A text is converted to the field's type: a number, `true` or `false`, a variant, `none` where that is allowed.
        Changes are made together, so that `{"objective": "mse", "noise": None}` passes no invalid state. A whole field
        is set before the fields in it. Other `data` sets `content` to None. Raises UserError for a path that is not a
        field and for a value of another type.
        """
        if changes.get("data", self.data) != self.data:
            changes = {"content": None} | changes
        return cast("Self", _changed(self, {tuple(path.split(".")): value for path, value in changes.items()}))


def identity(record: Record) -> Record:
    """An experiment's record without the address of its data, which the content identifies.

    Where the content is not known (None, or a record of an older version), the address is kept instead.
    """
    hidden = "content" if record.get("content") is None else "data"
    return {name: value for name, value in record.items() if name != hidden}


def read_experiments(configs: Iterable[str], contents: Mapping[str, DataContent]) -> list[Experiment | None]:
    """The experiment of each canonical JSON text; None where it has a variant or field that this version lacks.

    contents: the data's content by address, for texts of older versions, which do not hold it.
    """
    return [_read_experiment(config, contents) for config in configs]


def _read_experiment(config: str, contents: Mapping[str, DataContent]) -> Experiment | None:
    try:
        return Experiment.from_record(json.loads(config)).knowing(contents)
    except ValueError:
        return None


def _canonical(record: Record) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


def flatten(record: Record) -> Record:
    """A record as one row: columns are paths joined by underscores (`noise_a`); a variant's kind is in `noise`."""
    return dict(_flat(record, ""))


def columns() -> dict[str, type]:
    """Every column that `flatten` can give for any experiment, with its plain type."""
    return {name: kind for name, kind, _ in _columns(Experiment, "")}


def aspects() -> dict[str, frozenset[Aspect]]:
    """The aspects of a run that each of `columns` changes.

    A variant's field that declares no aspect has that of the field which holds the variant; any other field without one
    is taken to change all aspects. A column that belongs to several variants has the aspects of all of them.
    """
    by_column: dict[str, set[Aspect]] = {}
    for name, _, aspect in _columns(Experiment, ""):
        by_column.setdefault(name, set()).update(Aspect if aspect is None else {aspect})
    return {name: frozenset(changed) for name, changed in by_column.items()}


def _flat(record: Record, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(cast("Record", value), f"{prefix}{name}_")
        else:
            yield (prefix[:-1] if name == "kind" else prefix + name), value


def _columns(kind: Any, prefix: str, aspect: Aspect | None = None) -> Iterator[tuple[str, type, Aspect | None]]:
    """Name, plain type and aspect; `aspect` is that of the field that holds a value of this kind."""
    if issubclass(kind, Variant):
        yield prefix[:-1], str, aspect
        for variant in kind.kinds().values():
            for item in dataclasses.fields(variant):
                yield from _columns(item.type, f"{prefix}{item.name}_", aspect_of(item) or aspect)
    elif dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        for item in dataclasses.fields(kind):
            yield from _columns(_bare(hints[item.name]), f"{prefix}{item.name}_", aspect_of(item) or aspect)
    else:
        yield prefix[:-1], kind, aspect


def _plain(value: Any) -> Any:
    """A value as plain JSON values, dataclasses as dictionaries."""
    if isinstance(value, Variant):
        return value.to_record()
    if not dataclasses.is_dataclass(value):
        return value
    hints, record = get_type_hints(type(value)), Record()
    for item in dataclasses.fields(value):
        if item.default is None and getattr(value, item.name) is None:
            continue  # older versions lack such a field: their records stay equal
        part = getattr(value, item.name)  # a float field given as 1 is written 1.0: equal experiments have equal texts
        record[item.name] = float(part) if hints[item.name] is float else _plain(part)
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
    """`whole` with fields set by path; `where` is the path of `whole` followed by a dot, for errors."""
    kind = cast("Any", type(whole))
    names = _field_names(kind)
    new: dict[str, Any] = {}
    for name in dict.fromkeys(path[0] for path in changes):
        path = where + name
        if name not in names:  # the error has no `field`, since the name is not one
            remedy = f"be a field of {kind.__name__}, one of {', '.join(names)}" if names else "be left out"
            raise UserError(f"{path} must {remedy}, got {name!r}")
        parts = {longer[1:]: value for longer, value in changes.items() if longer[0] == name}
        value = _from_text(get_type_hints(kind)[name], parts.pop((), getattr(whole, name)), path)
        new[name] = _changed(value, parts, f"{path}.") if parts else value
    return dataclasses.replace(whole, **new)


def _field_names(kind: Any) -> list[str]:
    """The names of a dataclass's fields; empty for any other type."""
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
