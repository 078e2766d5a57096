"""The experiment: one frozen, validated record of everything that a run's result depends on.

A record is plain JSON values. What does not change the result (workers, storage, how often it is evaluated) is not in
it, nor is the code's version: the tables hold that. A trial's id is the hash of the record's `identity`, in which the
content of the data stands for its address: the same data at another address gives the same trials.
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
    """Everything that one pretraining run depends on.

    Raises UserError, naming the field, the value and the remedy, where a value or a combination cannot be used.
    """

    data: str = changes(Aspect.INPUT, default="digits")
    """Where the data is: a name that `darl.data.locate` has made canonical. It is not looked at here."""
    content: DataContent | None = changes(Aspect.INPUT, default=None)
    """What the data is, wherever it lies; None before it has been opened, and in records of older versions."""
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
    """Given for an objective that uses noise, None for others."""
    seed: int = changes(Aspect.CHANCE, default=0)
    """Of the initialisation, the data order, the augmentation and the noise."""
    epochs: int = changes(Aspect.TRAINING, default=30)
    batch_size: int = changes(Aspect.TRAINING, default=128)
    """Images per step over all workers."""
    accumulate: int = changes(Aspect.TRAINING, default=1)
    """Parts that a batch is cut into, one forward and backward pass each."""
    learning_rate: float = changes(Aspect.TRAINING, default=2e-3)
    """Peak."""
    optim: Optimizer = field(default_factory=Optimizer)
    precision: str = changes(Aspect.TRAINING, default="auto")
    """float32, bfloat16 (autocast), or auto: bfloat16 on a GPU and float32 on a CPU."""
    init: str | None = changes(Aspect.TRAINING, default=None)
    """Content hash of the weights that the run starts from (`darl.training.initialization`); None for the seed's own.
    A record without it is a record with None, so that it changes no other trial's id."""

    def __post_init__(self) -> None:
        require(bool(self.data), "data", "be named", self.data)
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
        """What decides which decoded data it uses: by the address, since one call reads each address once."""
        return f"{self.data} at {self.image_size} pixels in {self.channels} channels"

    def to_record(self) -> Record:
        """Plain JSON values, nested as the fields are; without `init` where it is None."""
        record = cast("Record", _plain(self))
        return record if self.init is not None else {name: part for name, part in record.items() if name != "init"}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        return cast("Self", _read(cls, record, "experiment"))

    def to_json(self) -> str:
        """Canonical: sorted keys, no blanks. Equal experiments have equal texts."""
        return _canonical(self.to_record())

    @property
    def identity(self) -> Record:
        """What tells this experiment from others: see `darl.experiment.identity`."""
        return identity(self.to_record())

    @property
    def trial_id(self) -> str:
        """Twelve hexadecimal digits of the identity's SHA-256."""
        return hashlib.sha256(_canonical(self.identity).encode()).hexdigest()[:12]

    def knowing(self, contents: Mapping[str, DataContent]) -> Self:
        """Itself, or a copy with the content of its data where it does not say it and `contents`, by address, does."""
        content = contents.get(self.data)
        return self if self.content is not None or content is None else dataclasses.replace(self, content=content)

    def is_same(self, config: str) -> bool:
        """Whether a row's `config` is this trial's: also one of a version that did not hold the data's content."""
        contents = {} if self.content is None else {self.data: self.content}
        before = read_experiments([config], contents)[0]
        return before is not None and before.trial_id == self.trial_id

    def changed(self, changes: dict[str, Any]) -> Self:
        """A copy with fields set by dotted path, e.g. `{"noise.a": 0.1, "order": "hilbert", "optim.clip": "0.5"}`.

        A text is read as the field's type says: a number, `true` or `false`, a variant, `none` where that is allowed.
        All changes are one: `{"objective": "mse", "noise": None}` is never seen half. A field that is set whole is set
        before its own fields. The content of other `data` is not known. Raises UserError for a path that is no field
        and for a value of another type.
        """
        if changes.get("data", self.data) != self.data:
            changes = {"content": None} | changes
        return cast("Self", _changed(self, {tuple(path.split(".")): value for path, value in changes.items()}))


def identity(record: Record) -> Record:
    """An experiment's record without the address of its data, for which the content stands.

    Where the content is not known (None, or a record of an older version) the address has to do.
    """
    hidden = "content" if record.get("content") is None else "data"
    return {name: value for name, value in record.items() if name != hidden}


def read_experiments(configs: Iterable[str], contents: Mapping[str, DataContent]) -> list[Experiment | None]:
    """The experiment of each canonical text; None where it is of a variant or a field that this code does not know.

    contents: of the data, by address, for texts of versions that did not hold it.
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
    """A record as one row: columns named by path with underscores; a variant's kind stands under its own name."""
    return dict(_flat(record, ""))


def columns() -> dict[str, type]:
    """Every column that any experiment's record can have, with its plain type."""
    return {name: kind for name, kind, _ in _columns(Experiment, "")}


def aspects() -> dict[str, frozenset[Aspect]]:
    """What each of `columns` changes about a run.

    A variant's field that says nothing changes what the choice of the variant changes; any other field that says
    nothing is taken to change everything. A column that several variants have changes what it changes in any of them.
    """
    found: dict[str, set[Aspect]] = {}
    for name, _, aspect in _columns(Experiment, ""):
        found.setdefault(name, set()).update(Aspect if aspect is None else {aspect})
    return {name: frozenset(changed) for name, changed in found.items()}


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
    if isinstance(value, Variant):
        return value.to_record()
    if not dataclasses.is_dataclass(value):
        return value
    # a field that is None by default and is not set is left out: the record is that of versions that did not have it
    unset = {
        item.name for item in dataclasses.fields(value) if item.default is None and getattr(value, item.name) is None
    }
    record: Record = {}
    for name, hint in get_type_hints(type(value)).items():  # 1 for a float is 1.0: equal experiments have equal texts
        part = getattr(value, name)
        record[name] = float(part) if hint is float else _plain(part)
    return {name: part for name, part in record.items() if name not in unset}


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
