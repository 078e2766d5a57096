"""kNN against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from darl.data import Dataset
from darl.evaluation import knn as knn_module
from darl.evaluation.knn import KnnProtocol, knn
from darl.evaluation.subject import Readout, Subject
from darl.metrics import KNN, KNN_10
from tests.evaluation.example_features import blobs
from tests.evaluation.example_subjects import CPU, experiment


def test_knn_is_the_weighted_vote_of_the_nearest() -> None:
    (x, y), (test_x, test_y) = blobs(300, 1.0, 1), blobs(900, 1.0, 2)
    peer = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    expected = peer.fit(x.numpy(), y.numpy()).score(test_x.numpy(), test_y.numpy())
    assert knn(x, y, test_x, test_y, 3)[0] == pytest.approx(expected, abs=0.003)


def test_knn_with_fewer_images_than_neighbours() -> None:
    x, y = torch.eye(5), torch.arange(5)
    assert knn(x, y, x, y, 5) == [1.0]


@pytest.mark.parametrize("temperature", [0.07, 1e-3, 1e-6])
def test_votes_are_finite_at_low_temperatures(temperature: float) -> None:
    """exp(1 / 0.001) is more than float32 holds."""
    angle = torch.tensor([0.0, 0.02, 1.5, 1.52, 3.0, 3.02])
    x, y = torch.stack([angle.cos(), angle.sin()], 1), torch.tensor([0, 0, 1, 1, 2, 2])
    assert knn(x, y, x, y, 3, temperature=temperature) == [1.0]


def test_similarities_in_pieces_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    (x, y), (test_x, test_y) = blobs(300, 2.0, 1), blobs(700, 2.0, 2)
    whole = knn(x, y, test_x, test_y, 3, neighbours=(20, 10, 1))
    monkeypatch.setattr(knn_module, "CHUNK", 7)
    assert knn(x, y, test_x, test_y, 3, neighbours=(20, 10, 1)) == whole
    assert len(set(whole)) > 1


def test_no_image_is_its_own_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one out, against scikit-learn's neighbours without the first, which is the image itself."""
    x, y = blobs(300, 2.0, 1)
    unit = x / x.norm(dim=1, keepdim=True)
    nearest = NearestNeighbors(n_neighbors=2, metric="cosine").fit(unit.numpy()).kneighbors(unit.numpy())[1][:, 1]
    expected = (y[nearest] == y).float().mean().item()
    for chunk in (65_536, 64):
        monkeypatch.setattr(knn_module, "CHUNK", chunk)
        assert knn(x, y, x, y, 3, neighbours=(1,), own=torch.arange(300))[0] == pytest.approx(expected)


def test_the_protocols_options_reach_the_vote(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    readout = Readout(1, "mean")
    (x, y), (test_x, test_y) = (
        (subject.features(split, [readout])[readout], subject.labels(split)) for split in ("train", "validation")
    )
    expected = knn(x, y, test_x, test_y, 10, neighbours=(4, 2), temperature=1.0)
    measured = KnnProtocol(neighbours=4, temperature=1.0, readout="mean").measure(subject)
    assert measured == {KNN.column: expected[0], KNN_10.column: expected[1], "knn_readout": "block 1, mean"}
    assert KnnProtocol(readout="mean").measure(subject) != measured


def test_the_readout_is_the_one_whose_neighbours_classify_training_images_best(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    y = subject.labels("train")

    def left_out(readout: Readout) -> float:
        x = subject.features("train", [readout])[readout]
        return knn(x, y, x, y, 10, own=torch.arange(len(y)))[0]

    best = max(subject.candidates("best", "best"), key=left_out)
    assert KnnProtocol().measure(subject)["knn_readout"] == str(best)
