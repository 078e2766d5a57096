"""Rows of transfer, and means that say what they hold."""

from dataclasses import replace

from darl.data import Dataset
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.protocol import Protocols
from darl.evaluation.rankme import RankMeProtocol
from darl.evaluation.transfer import Row, Target, failure, means, transfer
from tests.evaluation.example_subjects import CPU, experiment, unlabelled

KNN = Protocols((KnnProtocol(block="last", readout="mean"),))


def test_a_row_is_a_metric_with_its_yardsticks(digits: Dataset) -> None:
    models = experiment(seed=1).build(), experiment().build()
    rows = transfer(KNN, "run", models, Target("digits"), digits, CPU, "a note")
    assert [row.metric for row in rows] == ["knn_top1", "knn10_top1", "knn_balanced_top1"]
    first = rows[0]
    own, random = KNN(models[0], digits, CPU), KNN(models[1], digits, CPU)
    assert own["knn_top1"] != random["knn_top1"]
    assert (first.value, first.half_width, first.pixels, first.random) == (
        own["knn_top1"], own["knn_half_width"], own["pixels_knn_top1"], random["knn_top1"],
    )  # fmt: skip
    assert (first.train_images, first.images, first.split) == (1438, 359, "held out of train")
    assert (first.chosen, first.note, first.error) == ("block 1, mean", "a note", None)


def test_final_figures_are_rows_of_the_test_split(digits: Dataset) -> None:
    data = replace(digits, test=digits.validation)
    rows = transfer(KNN, "run", (experiment().build(),) * 2, Target("digits"), data, CPU)
    both = [row for row in rows if row.metric == "knn_top1"]
    assert [(row.split, row.value) for row in both] == [("held out of train", both[0].value), ("test", both[0].value)]


def test_what_cannot_be_measured_is_a_row_that_says_why(digits: Dataset) -> None:
    protocols = Protocols((*KNN.members, RankMeProtocol()))
    rows = transfer(protocols, "run", (experiment().build(),) * 2, Target("bare"), unlabelled(digits), CPU)
    assert [(row.protocol, row.value is None) for row in rows] == [("knn", True), ("rankme", False)]
    assert rows[0].error == "knn needs labels of both splits"


def rows_of(values: dict[str, float | None], group: str) -> list[Row]:
    return [Row(run="r", data=name, group=group, protocol="knn", metric="knn_top1", value=value)
            for name, value in values.items()]  # fmt: skip


def test_a_mean_counts_what_it_holds_and_names_what_it_lacks() -> None:
    natural = rows_of({"a": 0.5, "b": None, "c": 0.7}, "natural")
    special = rows_of({"d": 0.2}, "specialised")
    structured = rows_of({"e": None}, "structured")
    natural[2:2] = [Row(run="other", data="a", group="natural", protocol="knn", metric="knn_top1", value=1.0)]
    said = [str(mean) for mean in means([*natural, *special, *structured], "r", KnnProtocol())]
    assert said == [
        "natural: 60.0 %, mean of 2 of 3 tasks; missing: b",
        "specialised: 20.0 %, mean of 1 of 1 task",
        "structured: none of 1 task",
        "all: 46.7 %, mean of 3 of 5 tasks; missing: b, e",
    ]
    assert means(rows_of({"a": 0.5}, "natural"), "r", RankMeProtocol()) == []


def test_no_mean_over_data_that_is_no_benchmark() -> None:
    rows = [Row(run="r", data=name, protocol="knn", metric="knn_top1", value=0.5) for name in "ab"]
    assert means(rows, "r", KnnProtocol()) == []


def test_a_failure_has_a_row_for_each_protocol() -> None:
    rows = failure(Protocols((*KNN.members, RankMeProtocol())), "run", Target("d", "natural"), "why")
    assert [(row.protocol, row.metric, row.error, row.group) for row in rows] == [
        ("knn", "knn_top1", "why", "natural"),
        ("rankme", "rankme", "why", "natural"),
    ]
    assert all(value is None for value in (rows[0].value, rows[0].half_width, rows[0].images))


def test_the_mean_of_nothing_is_none() -> None:
    (group, every) = means(rows_of({"a": None}, "natural"), "r", KnnProtocol())
    assert (group.value, every.value, group.held, group.missing) == (None, None, 0, ("a",))
