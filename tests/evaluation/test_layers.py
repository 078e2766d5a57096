"""Linear probe and kNN by block."""

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from darl.data import Dataset, Images
from darl.evaluation.feature_protocol import held_out_tenth, standardize
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.layers import Layer, measure_layers
from darl.evaluation.linear import RIDGE_PENALTIES, LinearProtocol, held_out_ridge
from darl.evaluation.subject import Subject
from tests.evaluation.example_features import blobs
from tests.evaluation.example_subjects import CPU, experiment


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """The first digits only."""
    train, validation = (Images(split.pixels[:200], split.labels[:200]) for split in (digits.train, digits.validation))  # type: ignore[union-attr, index]
    return replace(digits, train=train, validation=validation)


@pytest.fixture(scope="module")
def subject(few: Dataset) -> Subject:
    return Subject(experiment(depth=2).build(), few, CPU)


@pytest.fixture(scope="module")
def layers(subject: Subject) -> list[Layer]:
    return measure_layers(subject)


def test_every_block_is_measured_and_the_last_ones_together(layers: list[Layer]) -> None:
    assert [layer.name for layer in layers] == [
        "block 1, mean", "block 1, tokens", "block 2, mean", "block 2, tokens", "blocks 1 to 2, mean",
        "blocks 1 to 2, tokens",
    ]  # fmt: skip
    assert all(0 < layer.probe_half_width < 0.2 for layer in layers)


def test_the_figures_are_those_of_the_protocols(layers: list[Layer], subject: Subject) -> None:
    second = layers[2]
    probe = LinearProtocol(block="2", readout="mean").measure(subject)
    assert (second.probe_top1, second.probe_half_width) == (probe["probe_top1"], probe["probe_half_width"])
    assert layers[4].knn_top1 == KnnProtocol(block="last2", readout="mean").measure(subject)["knn_top1"]


def test_the_chosen_readout_is_the_linear_probes(layers: list[Layer], subject: Subject) -> None:
    (chosen,) = [layer for layer in layers if layer.chosen]
    assert str(LinearProtocol().measure(subject)["probe_readout"]).startswith(f"{chosen.name}, ")


def test_the_held_out_accuracy_is_that_of_scikit_learns_ridge() -> None:
    x, y = blobs(400, 2.0, 1)
    rest, held = held_out_tenth(y)
    fit_x, held_x = standardize(x[rest], x[held])
    length = fit_x.square().sum(1).mean().item()
    scores = [
        RidgeClassifier(alpha=penalty * length, fit_intercept=False)
        .fit(fit_x.numpy(), y[rest].numpy())
        .score(held_x.numpy(), y[held].numpy())
        for penalty in RIDGE_PENALTIES
    ]
    measured = held_out_ridge(x, y, 3)
    assert min(scores) - 0.05 <= measured.top1 <= max(scores) + 0.05
    assert measured.error < torch.tensor([1 / 3, 2 / 3]).prod()  # that of always predicting the classes' shares


def test_a_model_of_one_block_has_nothing_to_concatenate(few: Dataset) -> None:
    assert {layer.blocks for layer in measure_layers(Subject(experiment().build(), few, CPU))} == {1}
