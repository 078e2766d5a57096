"""Evaluation protocols: each measures a pretrained model in one way, with options of its own.

Losses under different noise schedules are not comparable: the noisier the schedule, the larger the loss of the same
model. So models are compared by the accuracy of simple classifiers on the frozen features, and by the denoising error
on one fixed grid of signal fractions with fixed noise. A protocol is deterministic.

A new protocol is one class in one file of this package. It declares what it needs, which metrics it gives (the tables
take their columns from these), and what it costs (for `--dry-run`).
"""

import copy
import math
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self, TypeVar

from darl.evaluation.dense.base import DenseProtocol, named_in
from darl.evaluation.once import data_key, model_key, once
from darl.evaluation.subject import Split, Subject, evaluating, labelled
from darl.metrics import METRICS, Metric
from darl.variants import Variant, require

if TYPE_CHECKING:
    import torch

    from darl.data import Dataset
    from darl.model.config import ModelConfig
    from darl.model.darl import Darl

__all__ = [
    "SPLIT", "Need", "Pass", "Protocol", "Protocols", "Value", "chosen_columns", "measured", "profile_columns",
    "space_evenly",
]  # fmt: skip


T = TypeVar("T")

SPLIT = "split"
"""The column that says which images decide."""

Value = float | str | list[float] | None
"""What a protocol gives for a column: a metric's value, the text of a choice, the numbers of a profile, or None where
it was not measured."""


class Need(Enum):
    """What a protocol requires. Where it is missing, the protocol's columns are None."""

    LABELS = "labels of both splits"
    GPU = "a GPU"
    DENOISING = "an objective that estimates patches from noisy ones, as mse and diffusion do"
    DRAWING = "a model that can draw images: causal, of mse or diffusion, of pixels that are not normalised"
    TOKENIZER = "a model that reads or predicts tokens, whose tokenizer can decode"
    TRAINING = "weights that it may change: it is given a copy of the model"


class Pass(NamedTuple):
    """One pass of the model over all images of a split. Protocols with equal passes share them."""

    split: Split
    output: str
    """What the pass computes; a name that protocols with the same pass share."""
    forwards: float = 1.0
    """Its cost per image, in forward passes of an image of the training's size."""


@dataclass(frozen=True, kw_only=True)
class Protocol(Variant):
    """One way of measuring a pretrained model."""

    family: ClassVar[str] = "protocol"
    package: ClassVar[str] = "darl.evaluation"
    gives: ClassVar[tuple[Metric, ...]]
    """The metrics that it measures."""
    chooses: ClassVar[tuple[str, ...]] = ()
    """Columns of text that say what it has chosen, such as the block that it reads."""
    profiles: ClassVar[tuple[str, ...]] = ()
    """Columns of lists of numbers, such as a loss along the sequence; only the table `curves` has them."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    encoder_alone: ClassVar[bool] = False
    """Whether it reads the encoder and nothing of the decoder or the objective."""

    @abstractmethod
    def passes(self) -> frozenset[Pass]:
        """The passes over the data that `measure` makes: its cost."""

    @abstractmethod
    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """Metrics and choices by column, without those that its options switch off. The model is in evaluation mode.

        It may run under autocast. It must draw random numbers only from generators of its own.
        """

    def check(self, config: "ModelConfig") -> None:
        """Raise UserError where an option does not fit the model, as a block that it does not have."""

    def flops(self, dataset: "Dataset", config: "ModelConfig") -> float:
        """Floating-point operations beside `passes`: of classifiers that are fitted, and of training the model.

        config: the model's. 0 by default.
        """
        return 0.0

    def yardsticks(self, dataset: "Dataset", device: "torch.device") -> Mapping[str, Value]:
        """The same metrics for raw pixels, by `Metric.pixels_column`; none where it reads no features."""
        return {}

    def missing(self, subject: Subject) -> list[Need]:
        """What it needs and this model, data or device lacks."""
        lacks = {
            Need.LABELS: not subject.labelled,
            Need.GPU: subject.device.type == "cpu",
            Need.DENOISING: not subject.model.objective.can_denoise,
            Need.DRAWING: not subject.model.can_draw,
            Need.TOKENIZER: not subject.model.decodes_tokens,
        }
        return [need for need, lacking in lacks.items() if lacking and need in self.needs]

    @classmethod
    def giving(cls, column: str) -> type[Self]:
        """The protocol that gives the metric of this column; raises UserError where none does."""
        kinds = cls.kinds().values()
        matches = [kind for kind in kinds if column in {metric.column for metric in kind.gives}]
        require(len(matches) > 0, "metric", f"be one of {', '.join(metric.column for metric in measured())}", column)
        return matches[0]


def chosen_columns() -> list[str]:
    """The columns of text that all known protocols may fill."""
    return sorted(column for protocol in Protocol.kinds().values() for column in protocol.chooses)


def profile_columns() -> list[str]:
    """The columns of lists of numbers that all known protocols may fill."""
    return sorted(column for protocol in Protocol.kinds().values() for column in protocol.profiles)


@dataclass(frozen=True)
class Protocols:
    """An evaluation: what `darl.training.pretrain.fit` takes as `full` and in `evaluate_at`."""

    members: tuple[Protocol, ...]

    def __post_init__(self) -> None:
        columns = [metric.column for metric in self.gives]
        require(len(columns) == len(set(columns)), "protocols", "give each metric once", ",".join(columns))

    @classmethod
    def parse(cls, text: str) -> Self:
        """`linear,knn:neighbours=10,temperature=0.1,denoising`; raises UserError."""
        if (dense := named_in(text)) is not None:
            own = f"{dense} reads {DenseProtocol.of(dense).reads}, by `darl evaluate` alone"
            require(False, "protocols", f"be of labelled images here: {own}", text)
        texts: list[str] = []
        for part in filter(None, text.split(",")):
            if texts and ":" in texts[-1] and part.partition(":")[0].strip() not in Protocol.kinds():
                texts[-1] += f",{part}"  # one more option of the protocol before
            else:
                texts.append(part.strip())
        require(len(texts) > 0, "protocols", f"be some of {', '.join(Protocol.kinds())}", text)
        return cls(tuple(map(Protocol.parse, texts)))

    @classmethod
    def only(cls, column: str) -> Self:
        """The protocol that measures one metric, with default options."""
        return cls((Protocol.giving(column)(),))

    def __str__(self) -> str:
        return ",".join(map(str, self.members))

    @property
    def gives(self) -> list[Metric]:
        """The metrics of its protocols."""
        return [metric for protocol in self.members for metric in protocol.gives]

    def __call__(self, model: "Darl", dataset: "Dataset", device: "torch.device") -> dict[str, Value]:
        """The metrics of all known protocols by column: None for those that are not, or cannot be, measured.

        Beside them are the choices that the protocols made, the same metrics for raw pixels, `split` (which images
        decide: `Dataset.split`) and, where the data set has a test split, final figures (`Metric.test_column`).
        """
        result: dict[str, Value] = dict.fromkeys(metric.column for metric in (*measured(), *self.gives))
        result[SPLIT] = dataset.split
        subject, keys = Subject(model, dataset, device), _Keys(model, data_key(dataset, device))
        with evaluating(model):
            for protocol in self.members:
                if not protocol.missing(subject):
                    result |= once(keys.of(protocol), partial(_measure, protocol, subject))
                    result |= protocol.yardsticks(dataset, device)
        return result

    def unmet(self, model: "Darl", dataset: "Dataset", device: "torch.device") -> dict[str, list[Need]]:
        """What is missing, for each protocol that cannot measure this model on this data, by the protocol's kind."""
        subject = Subject(model, dataset, device)
        needs = {protocol.kind: protocol.missing(subject) for protocol in self.members}
        return {kind: missing for kind, missing in needs.items() if missing}

    def forwards(self, dataset: "Dataset") -> float:
        """Its cost in forward passes of an image of the training's size; shared passes count once."""
        passes = frozenset[Pass]().union(*(protocol.passes() for protocol in self._served(dataset)))
        return sum(each.forwards * len(getattr(dataset, each.split) or ()) for each in passes)

    def flops(self, dataset: "Dataset", config: "ModelConfig") -> float:
        """Its floating-point operations: forward passes that read every patch, classifiers, and training."""
        forward = max(config.flops(), config.trunk_flops(config.patches))  # an objective may read fewer in training
        own = sum(protocol.flops(dataset, config) for protocol in self._served(dataset))
        return forward * self.forwards(dataset) + own

    def _served(self, dataset: "Dataset") -> list[Protocol]:
        return [member for member in self.members if Need.LABELS not in member.needs or labelled(dataset)]

    def member_giving(self, column: str) -> Self:
        """Its protocol that measures one metric, alone; with default options where it has none that does."""
        members = [member for member in self.members if column in {metric.column for metric in member.gives}]
        return type(self)((members[0],)) if members else self.only(column)

    def without_training(self) -> Self:
        """Its protocols that train no model: the cheap ones, for evaluations on the way. May be empty."""
        return type(self)(tuple(member for member in self.members if Need.TRAINING not in member.needs))


def measured() -> list[Metric]:
    """The metrics of all known protocols, in the order of `METRICS`; others come last, by column."""
    every = {metric.column: metric for protocol in Protocol.kinds().values() for metric in protocol.gives}
    order = {column: number for number, column in enumerate(METRICS)}
    return [every[column] for column in sorted(every, key=lambda column: (order.get(column, len(order)), column))]


def space_evenly(epochs: int, count: int, evaluation: T) -> dict[int, T]:
    """An evaluation at no more than `count` epochs, evenly spaced, the last one among them."""
    return {math.ceil(epochs * (index + 1) / count): evaluation for index in range(count)}


@dataclass(frozen=True)
class _Keys:
    """By what the measurements of one model are known; its weights are hashed once for all protocols."""

    model: "Darl"
    data: Hashable | None

    def of(self, protocol: Protocol) -> Hashable | None:
        """None where the data has no key."""
        if self.data is None:
            return None
        return protocol, self._of_encoder if protocol.encoder_alone else self._of_model, self.data

    @cached_property
    def _of_encoder(self) -> Hashable:
        return model_key(self.model, encoder_alone=True)

    @cached_property
    def _of_model(self) -> Hashable:
        return model_key(self.model, encoder_alone=False)


def _measure(protocol: Protocol, subject: Subject) -> Mapping[str, Value]:
    """What the protocol measures; one that changes weights is given a copy of the model."""
    if Need.TRAINING in protocol.needs:
        subject = Subject(copy.deepcopy(subject.model), subject.dataset, subject.device)
    return protocol.measure(subject)
