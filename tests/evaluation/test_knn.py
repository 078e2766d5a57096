"""kNN against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch.utils._python_dispatch import TorchDispatchMode

from darl.data import Dataset
from darl.evaluation import knn as knn_module
from darl.evaluation.accuracy import accuracies
from darl.evaluation.knn import KnnProtocol, classify, knn
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
    own = {KNN.column: expected[0], KNN_10.column: expected[1], "knn_readout": "block 1, mean"}
    assert {column: measured[column] for column in own} == own
    assert KnnProtocol(readout="mean").measure(subject) != measured


def test_the_readout_is_the_one_whose_neighbours_classify_training_images_best(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    y = subject.labels("train")

    def left_out(readout: Readout) -> float:
        x = subject.features("train", [readout])[readout]
        return knn(x, y, x, y, 10, own=torch.arange(len(y)))[0]

    best = max(subject.candidates("best", "best"), key=left_out)
    assert KnnProtocol().measure(subject)["knn_readout"] == str(best)


def test_the_memory_does_not_grow_with_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor is larger than a piece's similarities or normalised features, however many images there are."""

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            for tensor in filter(torch.is_tensor, result if isinstance(result, tuple | list) else [result]):
                if tensor.untyped_storage().data_ptr() not in given:
                    self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // tensor.itemsize)
            return result

    monkeypatch.setattr(knn_module, "CHUNK", 64)
    monkeypatch.setattr(knn_module, "BATCH", 16)
    largest = []
    for count in (1_000, 4_000):
        (x, y), (test_x, test_y) = blobs(count, 2.0, 1), blobs(count // 2, 2.0, 2)
        given = {each.untyped_storage().data_ptr() for each in (x, y, test_x, test_y)}
        with Largest() as seen:
            found = classify(x, y, test_x, 3)
        assert len(found[0]) == count // 2
        largest.append(seen.numbers)
    # the classes of all test images, the result, are the only thing that grows
    assert max(largest[0], 2_000) == largest[1] == 2_000
    assert largest[0] <= max(16 * 64, 64 * 8, 16 * 20 * 3)


def test_many_classes_have_a_top5_of_classes_with_votes() -> None:
    """Against scikit-learn's probabilities; a class without a neighbour is no guess."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(600, 4, generator=generator), torch.arange(600) % 12
    test_x, test_y = torch.randn(200, 4, generator=generator), torch.arange(200) % 12
    peer = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    scores = peer.fit(x.numpy(), y.numpy()).predict_proba(test_x.numpy())
    (best,) = classify(x, y, test_x, 12)
    measured = accuracies(best, test_y, 12, "knn")
    assert measured["knn_top5"] == pytest.approx(top_k_accuracy_score(test_y, scores, k=5), abs=0.006)
    assert measured["knn_balanced_top1"] == pytest.approx(balanced_accuracy_score(test_y, scores.argmax(1)), abs=0.006)
    (alone,) = classify(x, y, test_x, 12, neighbours=(2,))
    assert (alone[:, 2:] == -1).all()
