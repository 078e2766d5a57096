"""One contract for every evaluation protocol, and one for every metric.

The proof is `Norms`: a protocol that is mentioned nowhere but here, with a metric of its own. It stays a variant of
`Protocol` in any process that collects this file, and its column stands in that process's schemas.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from darl import metrics as metrics_module
from darl.data import Dataset
from darl.evaluation import once
from darl.evaluation.attentive import AttentiveProtocol
from darl.evaluation.denoising import DenoisingProtocol
from darl.evaluation.few_shot import FewShotProtocol
from darl.evaluation.finetune import FinetuneProtocol
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import LinearProtocol
from darl.evaluation.protocol import SPLIT, Need, Pass, Protocol, Protocols, measured
from darl.evaluation.subject import Subject
from darl.metrics import (
    FEW_SHOT_WIDTHS,
    GAMMA_LOSSES,
    GENERATION,
    METRICS,
    OVER_IMAGES,
    RANKING_METRICS,
    TOP1,
    TRAINING_LOSS,
    Metric,
)
from darl.model.darl import Darl
from darl.model.tokenizers.dvae import Dvae
from darl.results.schema import curves_schema, trials_schema
from tests.evaluation.example_subjects import CPU, experiment, unlabelled

NORM = Metric(column="norm_top1", name="norm of the start token", direction="max", unit=TOP1)


@dataclass(frozen=True, kw_only=True)
class Norms(Protocol):
    """A new protocol is one class."""

    kind: ClassVar[str] = "norms"
    gives: ClassVar[tuple[Metric, ...]] = (NORM,)
    scale: float = 1.0

    def passes(self) -> frozenset[Pass]:
        return frozenset({Pass("validation", "readouts")})

    def measure(self, subject: Subject) -> Mapping[str, float]:
        return {NORM.column: self.scale * float(subject.model.encoder.start_token.detach().norm())}


SHORT = {
    "attentive": "attentive:epochs=2",
    "finetune": "finetune:epochs=1",
    "generation": "generation:epochs=1,images=20",
}
"""Options with which a protocol takes seconds, by its kind."""
PROTOCOLS: list[Any] = [Protocol.parse(SHORT.get(kind, kind)) for kind in Protocol.kinds()]
OWN = [protocol for protocol in PROTOCOLS if type(protocol).__module__.startswith("darl.")]


def built_for(protocol: Protocol) -> Darl:
    """A model that has what the protocol needs."""
    reads = {"tokenizer": Dvae(vocabulary=8, width=8), "token_input": True}
    return experiment(**(reads if Need.TOKENIZER in protocol.needs else {})).build()


def test_a_new_protocol_is_found_and_has_its_column():
    assert Protocols.parse("norms:2") == Protocols((Norms(scale=2.0),))
    assert any(isinstance(protocol, Norms) for protocol in PROTOCOLS)
    for schema in (trials_schema(), curves_schema()):
        assert str(schema.field(NORM.column).type) == "double"


def test_no_two_protocols_give_one_metric():
    columns = [metric.column for protocol in PROTOCOLS for metric in protocol.gives]
    assert sorted(columns) == sorted(metric.column for metric in measured())


@pytest.mark.usefixtures("nothing_measured")
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_a_protocol_gives_its_metrics_twice_the_same_and_leaves_the_model_as_it_was(
    protocol: Protocol, few_digits: Dataset
):
    """Also in evaluation mode, where the model stays."""
    model = built_for(protocol).train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    metrics = Protocols((protocol,))(model, few_digits, CPU)
    assert model.training
    yardsticks = {metric.pixels_column for metric in protocol.gives if metric.has_pixels}
    given = {column for column, value in metrics.items() if value is not None} - {SPLIT}
    assert given <= {one.column for one in protocol.gives} | yardsticks | {*protocol.chooses, *protocol.profiles}
    assert isinstance(metrics[protocol.gives[0].column], float)
    once._results.clear()  # else the second would be the first
    assert metrics == Protocols((protocol,))(model.eval(), few_digits, CPU)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_a_protocol_that_needs_labels_gives_nothing_without_and_costs_nothing(protocol: Protocol, few_digits: Dataset):
    data, evaluation = unlabelled(few_digits), Protocols((protocol,))
    metrics = evaluation(built_for(protocol), data, CPU)
    needs = Need.LABELS in protocol.needs
    assert all(metrics[metric.column] is None for metric in protocol.gives) == needs
    assert (evaluation.forwards(data) == 0) == needs
    assert evaluation.forwards(few_digits) > 0


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_a_protocol_has_its_cost(protocol: Protocol, digits: Dataset):
    """Forward passes, and for protocols that fit classifiers or train, these as well: more for a wider model."""
    evaluation, narrow = Protocols((protocol,)), experiment().model_config
    wide = experiment().changed({"model.width": 32}).model_config
    passes = narrow.flops() if Need.DENOISING in protocol.needs else narrow.trunk_flops(narrow.patches)
    assert evaluation.flops(digits, narrow) >= passes * evaluation.forwards(digits)
    assert evaluation.flops(digits, wide) > evaluation.flops(digits, narrow)
    if Need.LABELS in protocol.needs:
        assert protocol.flops(digits, wide) > protocol.flops(digits, narrow) > 0
        assert evaluation.flops(unlabelled(digits), narrow) == 0


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_a_protocols_choices_are_text_columns(protocol: Protocol):
    for schema in (trials_schema(), curves_schema()):
        assert all(str(schema.field(column).type) == "string" for column in protocol.chooses)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_a_protocols_profiles_are_lists_in_the_curves_alone(protocol: Protocol):
    for column in protocol.profiles:
        assert str(curves_schema().field(column).type) == "list<item: double>"
        assert column not in trials_schema().names


@pytest.mark.parametrize("protocol", OWN, ids=str)
def test_a_protocols_metrics_are_registered(protocol: Protocol):
    assert all(METRICS[metric.column] is metric for metric in protocol.gives)


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.column)
def test_a_metric_is_whole(metric: Metric):
    assert metric.name
    assert metric.direction in ("max", "min")
    assert metric.short or not metric.ranks_trials
    assert (metric.proxy or metric.column) in METRICS
    assert METRICS[metric.gain_by or metric.column].higher_is_better
    assert metric in (*measured(), TRAINING_LOSS)


def test_every_declared_metric_is_registered_under_a_column_of_its_own():
    declared = [value for value in vars(metrics_module).values() if isinstance(value, Metric)]
    assert len(declared) > 0
    others = (GAMMA_LOSSES, FEW_SHOT_WIDTHS, GENERATION)
    beside = sum(map(len, OVER_IMAGES.values()))
    assert len(METRICS) == len(declared) + beside + sum(map(len, others))


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.column)
def test_a_metric_has_its_columns(metric: Metric):
    trials, curves = trials_schema(), curves_schema()
    assert str(trials.field(metric.column).type) == str(curves.field(metric.column).type) == "double"
    assert (metric.initial_column in trials.names) == metric.yardsticks
    assert (metric.pixels_column in trials.names) == metric.has_pixels
    assert metric.pixels_column not in curves.names  # it is the same in every row
    assert (metric.test_column in trials.names) == metric.tested
    assert metric.test_column not in curves.names  # the test split is used once


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.column)
@pytest.mark.parametrize("value", [0.0, 0.1234, 0.625, 1.0])
def test_what_is_written_reads_back(metric: Metric, value: float):
    for text in (metric.format_value(value), metric.format_aligned(value), metric.format_difference(value)):
        assert float(text.partition(" ")[0]) / metric.unit.factor == pytest.approx(value, abs=5e-4)
    assert metric.axis.startswith(metric.name)


def test_one_protocol_gives_each_judge():
    givers = [Protocol.giving(column) for column in RANKING_METRICS]
    assert givers == [
        LinearProtocol, KnnProtocol, FewShotProtocol, FewShotProtocol, AttentiveProtocol, FinetuneProtocol,
        DenoisingProtocol,
    ]  # fmt: skip
