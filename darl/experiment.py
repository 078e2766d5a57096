"""The experiment: one frozen, validated record of everything that a run's result depends on.

A record consists of plain JSON values. It leaves out what does not change the result (workers, storage, the number of
evaluations) and the version of the code, which the tables hold. A trial's id is the hash of the record's `identity`,
which has the content of the data in place of its address: the same data at another address gives the same ids.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from darl import records
from darl.aspects import Aspect, changes
from darl.data.augment import Augment
from darl.data.content import DataContent
from darl.finetuning import Finetuning
from darl.model.config import ModelConfig
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta, Noise
from darl.model.objectives.base import Objective
from darl.model.objectives.diffusion import Diffusion
from darl.model.orders import Order, Raster
from darl.model.positions import Position, Rotary2d
from darl.model.random_orders import RandomOrder
from darl.model.tokenizers.base import Tokenizer
from darl.optim import Optimizer
from darl.variants import Record, require

if TYPE_CHECKING:
    from darl.model.darl import Darl

__all__ = ["Experiment", "aspects", "columns", "identity", "read_experiments"]


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
    """Random crops and flips of the training images."""
    model: EncoderConfig = field(default_factory=lambda: EncoderConfig(width=64, depth=4, heads=4, patch_size=2))
    """The encoder's size."""
    order: Order = changes(Aspect.INPUT, default_factory=Raster)
    """The order in which patches are predicted."""
    position: Position = changes(Aspect.MODEL, default_factory=Rotary2d)
    """The position encoding."""
    causal: bool = changes(Aspect.INPUT, default=True)
    """Whether a token reads only itself and those before it in the order."""
    attention: str | None = changes(Aspect.INPUT, default=None)
    """`prefix`: in training a random prefix reads itself without mask, and features are read without mask (`causal` is
    false); None: as `causal` says. A record leaves it out where it is None, as it does `init`."""
    context_noise: float | None = changes(Aspect.LOSS, default=None)
    """Standard deviation of noise on the patches that the trunk reads in training (`darl.model.objectives.next_patch`);
    None for none, and then left out of a record."""
    next_patches: int | None = changes(Aspect.LOSS, default=None)
    """How many next patches each output predicts in training (`darl.model.objectives.next_patch`); None for one, and
    then left out of a record."""
    condition: str | None = changes(Aspect.INPUT, default=None)
    """`labels`: in training the start token knows the image's class, so that images of a class can be drawn
    (`darl.model.objectives.condition`); None for not, and then left out of a record."""
    random_order: RandomOrder | None = changes(Aspect.INPUT, default=None)
    """In training an order for each image (`darl.model.random_orders`), with `causal` false; None for `order` alone,
    and then left out of a record."""
    objective: Objective = changes(Aspect.TARGET, default_factory=Diffusion)
    """What is predicted, and the loss."""
    noise: Noise | None = changes(Aspect.LOSS, default_factory=Beta)
    """The noise schedule of an objective that uses noise; None for other objectives."""
    tokenizer: Tokenizer | None = changes(Aspect.INPUT, default=None)
    """The tokenizer whose tokens are read or predicted; a run that does neither trains it (`trains_tokenizer`). A
    record leaves this and the next two out where they are None."""
    tokenizer_weights: str | None = changes(Aspect.INPUT, default=None)
    """Content hash of the tokenizer's weights (`darl.training.tokenizer`)."""
    token_input: bool | None = changes(Aspect.INPUT, default=None)
    """Whether each patch is read as its token; None for no. (They are predicted by objective `tokens`.)"""
    seed: int = changes(Aspect.CHANCE, default=0)
    """Seed of the initialisation, the data order, the augmentation and the noise; in [0, 2^63)."""
    epochs: int = changes(Aspect.TRAINING, default=30)
    """Passes over the training images."""
    batch_size: int = changes(Aspect.TRAINING, default=128)
    """Images per step over all workers."""
    accumulate: int = changes(Aspect.TRAINING, default=1)
    """Micro-batches per step (gradient accumulation), at least 1; must divide the batch."""
    learning_rate: float = changes(Aspect.TRAINING, default=2e-3)
    """Peak of the learning-rate schedule."""
    optim: Optimizer = field(default_factory=Optimizer)
    """The rest of the optimiser: AdamW's settings, clipping, averaging."""
    precision: str = changes(Aspect.TRAINING, default="auto")
    """float32, bfloat16 (autocast), or auto: bfloat16 on a GPU and float32 on a CPU."""
    init: str | None = changes(Aspect.TRAINING, default=None)
    """Content hash of the weights that the run starts from (`darl.training.initialization`); None for random weights.
    A record leaves it out where it is None, so that the ids of trials of earlier versions stay as they are."""

    finetuning: Finetuning | None = changes(Aspect.TRAINING, default=None)
    """Settings of fine-tuning; None for a pretraining, whose record leaves it out."""

    def __post_init__(self) -> None:
        require(bool(self.data), "data", "be the name of a data set", self.data)
        for name in ("image_size", "epochs", "batch_size", "accumulate"):
            require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        object.__setattr__(self, "token_input", self.token_input or None)  # off has one form
        used = self.tokenizer_weights is None or not (self.trains_tokenizer or self.tokenizer is None)
        require(used, "tokenizer_weights", "be left out where no tokens are read or predicted", self.tokenizer_weights)
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
            attention=self.attention,
            context_noise=self.context_noise,
            next_patches=self.next_patches,
            condition=self.condition,
            random_order=self.random_order,
            objective=self.objective,
            noise=self.noise,
            tokenizer=None if self.trains_tokenizer else self.tokenizer,
            token_input=self.token_input,
            classes=self.content.classes if self.content and self.reads_labels else None,
        )

    @property
    def reads_labels(self) -> bool:
        """Whether pretraining needs the images' labels."""
        return self.objective.needs_labels or self.condition is not None

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the run trains the tokenizer itself, as no model of it reads or predicts tokens."""
        return self.tokenizer is not None and not (self.token_input or self.objective.needs_tokenizer)

    def build(self) -> "Darl":
        """The model, initialised from the seed."""
        return self.model_config.build(self.seed)

    @property
    def data_key(self) -> str:
        """Key under which a command shares decoded data: address, image size, channels.

        A command reads each address once, so the address is enough.
        """
        return f"{self.data} at {self.image_size} pixels in {self.channels} channels"

    def to_record(self) -> Record:
        """Plain JSON values, nested as the fields are; those that are None by default only where given."""
        return records.to_record(self)

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        return records.from_record(cls, record, "experiment")

    def to_json(self) -> str:
        """The record as canonical JSON (sorted keys, no blanks): equal experiments have equal texts."""
        return records.canonical(self.to_record())

    @property
    def identity(self) -> Record:
        """The part of the record that the trial's id is the hash of: see `darl.experiment.identity`."""
        return identity(self.to_record())

    @property
    def trial_id(self) -> str:
        """Twelve hexadecimal digits of the identity's SHA-256."""
        return hashlib.sha256(records.canonical(self.identity).encode()).hexdigest()[:12]

    def knowing(self, contents: Mapping[str, DataContent]) -> Self:
        """The experiment, with `content` taken from `contents` (by address) where it is None and known there."""
        content = contents.get(self.data)
        return self if self.content is not None or content is None else dataclasses.replace(self, content=content)

    def is_same(self, config: str) -> bool:
        """Whether a row's `config` describes this trial; rows of older versions hold no content of the data."""
        contents = {} if self.content is None else {self.data: self.content}
        before = read_experiments([config], contents)[0]
        return before is not None and before.trial_id == self.trial_id

    def changed(self, values: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted path, e.g. `{"noise.a": 0.1, "order": "hilbert", "optim.clip": "0.5"}`.

        A text is converted to the field's type: a number, `true` or `false`, a variant, `none` where that is allowed.
        Changes are made together, so that `{"objective": "mse", "noise": None}` passes no invalid state. A whole field
        is set before the fields in it. Other `data` sets `content` to None. Raises UserError for a path that is not a
        field and for a value of another type.
        """
        resets = {"content": None} if values.get("data", self.data) != self.data else {}
        return records.changed(self, {**resets, **values})


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


def columns() -> dict[str, type]:
    """Every column that `darl.records.flatten` can give for any experiment, with its plain type."""
    return records.columns(Experiment)


def aspects() -> dict[str, frozenset[Aspect]]:
    """The aspects of a run that each of `columns` changes."""
    return records.aspects(Experiment)
