"""kNN against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from darl.data import Dataset
from darl.evaluation.knn import KnnProtocol, knn
from darl.evaluation.subject import Subject
from darl.metrics import KNN
from tests.evaluation.example_features import blobs
from tests.evaluation.example_subjects import CPU, experiment


def test_knn_is_the_weighted_vote_of_the_nearest() -> None:
    (x, y), (test_x, test_y) = blobs(300, 1.0, 1), blobs(900, 1.0, 2)
    peer = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    expected = peer.fit(x.numpy(), y.numpy()).score(test_x.numpy(), test_y.numpy())
    assert knn(x, y, test_x, test_y, 3) == pytest.approx(expected, abs=0.003)


def test_knn_with_fewer_images_than_neighbours() -> None:
    x, y = torch.eye(5), torch.arange(5)
    assert knn(x, y, x, y, 5) == 1.0


@pytest.mark.parametrize("temperature", [0.07, 1e-3, 1e-6])
def test_votes_are_finite_at_low_temperatures(temperature: float) -> None:
    """exp(1 / 0.001) is more than float32 holds."""
    angle = torch.tensor([0.0, 0.02, 1.5, 1.52, 3.0, 3.02])
    x, y = torch.stack([angle.cos(), angle.sin()], 1), torch.tensor([0, 0, 1, 1, 2, 2])
    assert knn(x, y, x, y, 3, temperature=temperature) == 1.0


def test_the_protocols_options_reach_the_vote(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    sets = (*subject.readouts("train"), *subject.readouts("validation"))
    expected = knn(*sets, 10, neighbours=1, temperature=1.0)
    assert KnnProtocol(neighbours=1, temperature=1.0).measure(subject) == {KNN.column: expected}
    assert KnnProtocol().measure(subject) != {KNN.column: expected}
