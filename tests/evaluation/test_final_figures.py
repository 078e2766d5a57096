"""Final figures on a test split: the protocols' own choices, applied once, at the end of a run."""

from dataclasses import replace

import pytest

from darl.data import Dataset, Images
from darl.evaluation.few_shot import FewShotProtocol
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import LinearProtocol
from darl.evaluation.pixels import Pixels
from darl.evaluation.protocol import SPLIT, Protocols
from darl.evaluation.standard import standard_evaluation
from darl.metrics import METRICS
from darl.results.rows import curve_row, trial_row
from darl.results.schema import curves_schema, trials_schema
from darl.training.events import Evaluated
from darl.training.pretrain import fit
from tests.evaluation.example_subjects import CPU, experiment

EVALUATION = Protocols((LinearProtocol(), KnnProtocol(), FewShotProtocol()))

TESTED = [metric for metric in EVALUATION.gives if metric.tested]


@pytest.fixture(scope="module")
def tested(digits: Dataset) -> Dataset:
    """The first digits, and the last validation images as a test split."""
    whole = digits.validation
    assert isinstance(whole, Images)
    assert whole.labels is not None
    validation, test = (Images(whole.pixels[part], whole.labels[part]) for part in (slice(200), slice(200, None)))
    assert isinstance(digits.train, Images)
    assert digits.train.labels is not None
    train = Images(digits.train.pixels[:400], digits.train.labels[:400])
    return replace(digits, train=train, validation=validation, test=test, split="held out of train")


def test_only_the_figures_of_finished_trials_are_final() -> None:
    standard = ["test_probe_top1", "test_knn_top1", "test_few_shot_5_top1"]
    assert [metric.test_column for metric in TESTED] == standard
    every = {metric.test_column for metric in METRICS.values() if metric.tested}
    assert every == {*standard, "test_attentive_top1", "test_finetune_top1"}


def test_final_figures_are_what_the_protocols_measure_on_the_test_images(tested: Dataset) -> None:
    """Choices are made on training images, so with the test images for validation they are the same."""
    assert tested.test is not None
    model = experiment(depth=2).build()
    both = EVALUATION(model, tested, CPU)
    alone = EVALUATION(model, replace(tested, validation=tested.test, test=None), CPU)
    for metric in TESTED:
        assert both[metric.test_column] == pytest.approx(alone[metric.column])
    for column in ("probe_readout", "knn_readout", "few_shot_5_readout"):
        assert both[column] == alone[column]
    deciding = EVALUATION(model, tested.deciding, CPU)
    assert {name: value for name, value in both.items() if not name.startswith("test_")} == deciding
    assert len(both) == len(deciding) + len(TESTED)


def test_raw_pixels_and_hidden_labels_have_no_final_figures(tested: Dataset) -> None:
    assert not Pixels(tested, CPU).is_tested
    assert isinstance(tested.test, Images)
    hidden = replace(tested, test=Images(tested.test.pixels, None))
    values = Protocols((KnnProtocol(),))(experiment().build(), hidden, CPU)
    assert not any(column.startswith("test_") for column in values)


def test_a_run_sees_the_test_images_once_at_its_end(tested: Dataset) -> None:
    seen: list[bool] = []
    evaluation = Protocols((KnnProtocol(),))

    def watched(model, dataset, device):  # type: ignore[no-untyped-def]
        seen.append(dataset.test is not None)
        return evaluation(model, dataset, device)

    run = experiment(epochs=2)
    events = fit(run, tested, device=CPU, full=watched, evaluate_at={1: watched, 2: watched})
    evaluated = [vars(event) for event in events if isinstance(event, Evaluated)]
    assert seen == [False, False, True]
    options = {"status": "finished", "attempt": 1, "started_at": None, "workers": 1, "device": "cpu", "flops": 1.0}
    row = trial_row(run, evaluated, **options)  # type: ignore[arg-type]
    assert 0 < row["test_knn_top1"] < 1
    assert row[SPLIT] == "held out of train"
    assert set(row) <= set(trials_schema().names)
    curves = [curve_row(event) for event in evaluated]
    assert all(set(each) <= set(curves_schema().names) for each in curves)
    assert not any(name.startswith("test_") for each in curves for name in each)


def test_the_last_evaluation_costs_a_pass_more_for_each_protocol(tested: Dataset, digits: Dataset) -> None:
    evaluation = standard_evaluation()
    assert evaluation.forwards(tested) == evaluation.forwards(tested.deciding) + 3 * len(tested.test or ())
    assert evaluation.forwards(digits) == evaluation.forwards(digits.deciding)
