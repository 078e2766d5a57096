"""Evaluations: protocols share passes, are parsed from text, and tell their cost in advance."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from darl.data import Dataset, Images
from darl.errors import UserError
from darl.evaluation.denoising import DenoisingProtocol
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import LinearProtocol
from darl.evaluation.protocol import (
    SPLIT,
    Need,
    Pass,
    Protocol,
    Protocols,
    measured,
    profile_columns,
    space_evenly,
)
from darl.evaluation.standard import standard_evaluation
from darl.evaluation.subject import Subject
from darl.metrics import (
    ENLARGED_PROBE,
    KNN,
    KNN_10,
    METRICS,
    PROBE,
    VALIDATION_LOSS,
    Metric,
)
from tests.evaluation.example_subjects import CPU, experiment, unlabelled


@dataclass(frozen=True, kw_only=True)
class Shaken(Protocol):
    """Changes the weights that it is given. It has no kind, so no other test finds it."""

    gives: ClassVar[tuple[Metric, ...]] = (VALIDATION_LOSS,)
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TRAINING})

    def passes(self) -> frozenset[Pass]:
        return frozenset({Pass("train", "weights", 3.0)})

    def measure(self, subject: Subject) -> Mapping[str, float]:
        with torch.no_grad():
            for parameter in subject.model.parameters():
                parameter.zero_()
        return {VALIDATION_LOSS.column: 1.0}


@dataclass(frozen=True, kw_only=True)
class OnGpu(Shaken):
    """Cannot run on a CPU."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.GPU})


@pytest.mark.parametrize("text", ["linear:block=last9", "knn:block=3", "attentive:block=3", "rankme:block=3"])
def test_a_block_that_a_model_lacks_is_found_before_anything_is_measured(text: str) -> None:
    (protocol,) = Protocols.parse(text).members
    with pytest.raises(UserError, match=r"^protocol\.block must be"):
        protocol.check(experiment(depth=2).model_config)


def test_the_standard_evaluation_gives_every_metric(few_digits: Dataset) -> None:
    model = experiment().build()
    metrics = standard_evaluation()(model, few_digits, CPU)
    evaluation = standard_evaluation()
    pixels = {metric.pixels_column for metric in evaluation.gives if metric.has_pixels}
    chosen = {column for protocol in evaluation.members for column in protocol.chooses}
    assert set(metrics) == {*(metric.column for metric in measured()), *pixels, *chosen, *profile_columns(), SPLIT}
    assert metrics[SPLIT] == "held out of train"
    assert 0 <= metrics["few_shot_5_top1"] <= metrics["probe_top1"] <= 1
    missing = {metric.column for metric in standard_evaluation().gives if metrics[metric.column] is None}
    assert missing == {ENLARGED_PROBE.column, "probe_top5", "knn_top5"}  # there are only ten classes
    assert standard_evaluation(enlarged=True)(model, few_digits, CPU)[ENLARGED_PROBE.column] is not None


@pytest.mark.usefixtures("nothing_measured")
def test_protocols_share_their_features(few_digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    plain = Subject._read

    def counted(self: Subject, split: Images, *rest: object, **named: object) -> object:
        passes.append(len(split))
        return plain(self, split, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Subject, "_read", counted)
    Protocols((LinearProtocol(), KnnProtocol()))(experiment().build(), few_digits, CPU)
    assert sorted(passes) == sorted((len(few_digits.train), len(few_digits.validation)))


def test_metrics_that_are_not_measured_are_none(few_digits: Dataset) -> None:
    metrics = Protocols.only(KNN.column)(experiment().build(), few_digits, CPU)
    given = {column for column, value in metrics.items() if value is not None and column in METRICS}
    assert given == {KNN.column, KNN_10.column, "knn_half_width", "knn_balanced_top1"}


def test_without_labels_there_is_a_validation_loss(few_digits: Dataset) -> None:
    metrics = standard_evaluation()(experiment().build(), unlabelled(few_digits), CPU)
    assert metrics[PROBE.column] is metrics[KNN.column] is None
    assert metrics[VALIDATION_LOSS.column] is not None


def test_a_protocol_that_trains_is_given_a_copy(few_digits: Dataset) -> None:
    model = experiment().build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert Protocols((Shaken(), KnnProtocol()))(model, few_digits, CPU)[VALIDATION_LOSS.column] == 1.0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_protocol_that_needs_a_gpu_gives_nothing_on_a_cpu(digits: Dataset) -> None:
    assert Protocols((OnGpu(),))(experiment().build(), digits, CPU)[VALIDATION_LOSS.column] is None


def test_a_protocol_that_cannot_measure_says_what_it_needs(digits: Dataset) -> None:
    model, evaluation = experiment().build(), standard_evaluation()
    assert evaluation.unmet(model, digits, CPU) == {}
    lacking = {kind: [Need.LABELS] for kind in ("linear", "knn", "few_shot")}
    assert evaluation.unmet(model, unlabelled(digits), CPU) == lacking
    assert OnGpu().missing(Subject(model, digits, CPU)) == [Need.GPU]


def test_the_cost_counts_shared_passes_once(digits: Dataset) -> None:
    train, validation = len(digits.train), len(digits.validation)
    assert standard_evaluation().forwards(digits) == train + 2 * validation
    assert standard_evaluation(enlarged=True).forwards(digits) == train + (2 + 1.5**2) * validation
    assert Protocols((KnnProtocol(),)).forwards(digits) == train + validation
    assert Protocols((Shaken(),)).forwards(digits) == 3 * train
    assert standard_evaluation().forwards(unlabelled(digits)) == 2 * validation  # denoising and RankMe


@pytest.mark.parametrize(
    ("text", "protocols"),
    [
        ("linear,knn,denoising", (LinearProtocol(), KnnProtocol(), DenoisingProtocol())),
        ("knn", (KnnProtocol(),)),
        (
            "knn:neighbours=5,temperature=0.1,denoising",
            (KnnProtocol(neighbours=5, temperature=0.1), DenoisingProtocol()),
        ),
        ("linear:last,mean,knn:2", (LinearProtocol(block="last", readout="mean"), KnnProtocol(block="2"))),
        ("linear:penalty=0.01,knn:mask=removed", (LinearProtocol(penalty="0.01"), KnnProtocol(mask="removed"))),
        ("knn:block=last4,readout=pca64", (KnnProtocol(block="last4", readout="pca64"),)),
        (" linear:enlarged=true , knn ", (LinearProtocol(enlarged=True), KnnProtocol())),
    ],
)
def test_protocols_are_parsed_with_their_options(text: str, protocols: tuple[Protocol, ...]) -> None:
    assert Protocols.parse(text) == Protocols(protocols)
    assert Protocols.parse(str(Protocols(protocols))) == Protocols(protocols)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linear,neighbors", r"^protocol must be one of .*knn.*, got 'neighbors'$"),
        ("", "^protocols must be some of .*knn.*, got ''$"),
        ("knn,knn:5", "^protocols must give each metric once, got 'knn_top1,knn10_top1,.*'$"),
        ("knn:neighbours=0", "^protocol.neighbours must be at least 1, got 0$"),
        ("knn:temperature=0", "^protocol.temperature must be positive, got 0.0$"),
        ("linear:penalty=-1", "^protocol.penalty must be 0 or more, or best, got '-1'$"),
        ("linear:penalty=weak", "^protocol.penalty must be 0 or more, or best, got 'weak'$"),
        ("linear:block=first", "^protocol.block must be the number of a block, last, lastK .* or best, got 'first'$"),
        ("linear:block=last-1", "^protocol.block must be .*, got 'last-1'$"),
        ("linear:readout=pca0", "^protocol.readout must be .*, got 'pca0'$"),
        ("knn:readout=max", "^protocol.readout must be one of mean, last, tokens, best, pca, pcaN .*, got 'max'$"),
        ("few_shot:mask=half", "^protocol.mask must be kept or removed, got 'half'$"),
        ("few_shot:draws=1", "^protocol.draws must be at least 2, got 1$"),
        ("linear:iterations=0", "^protocol.iterations must be at least 1, got 0$"),
    ],
)
def test_unusable_protocols_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Protocols.parse(text)


def test_the_protocol_of_a_metric_is_found() -> None:
    assert Protocol.giving(ENLARGED_PROBE.column) is LinearProtocol
    assert Protocols.only(VALIDATION_LOSS.column) == Protocols((DenoisingProtocol(),))
    with pytest.raises(UserError, match=r"^metric must be one of probe_top1, .*, got 'train_loss'$"):
        Protocol.giving("train_loss")


@pytest.mark.parametrize(("epochs", "count"), list(itertools.product([1, 2, 7, 100], [1, 3, 10])))
def test_evaluations_are_evenly_spaced(epochs: int, count: int) -> None:
    chosen = list(space_evenly(epochs, count, standard_evaluation()))
    assert chosen[-1] == epochs
    assert len(chosen) == min(epochs, count)
