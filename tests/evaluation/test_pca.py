"""Principal components against scikit-learn's."""

import pytest
import torch
from sklearn.decomposition import PCA

from darl.data import Dataset
from darl.evaluation import pca as pca_module
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.pca import Projection, components_of
from darl.evaluation.pixels import Pixels
from darl.evaluation.protocol import Protocols
from darl.evaluation.subject import Readout
from darl.metrics import KNN
from tests.evaluation.example_subjects import CPU, experiment


def features(images: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(width, width, generator=generator) * torch.logspace(0, -2, width)
    return torch.randn(images, width, generator=generator) @ mixed.T + 3


@pytest.mark.parametrize("shape", [(200, 12), (12, 40)], ids=["more images", "more features"])
def test_components_are_scikit_learns(shape: tuple[int, int]) -> None:
    """With scikit-learn's signs, which make each component's largest number positive."""
    x, test_x = features(*shape), features(30, shape[1])
    peer = PCA(5, svd_solver="full").fit(x.double().numpy())
    projection = Projection.fit(x, 5)
    signs = torch.tensor(peer.components_).gather(1, torch.tensor(abs(peer.components_).argmax(1))[:, None]).sign()
    torch.testing.assert_close(
        projection.components.T.double(), torch.tensor(peer.components_) * signs, rtol=1e-4, atol=1e-5
    )
    expected = torch.tensor(peer.transform(test_x.double().numpy())) * signs.T
    torch.testing.assert_close(projection(test_x).double(), expected, rtol=1e-4, atol=1e-4)


def test_components_without_variance_are_left_out() -> None:
    x = features(50, 3) @ torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
    assert Projection.fit(x, 20).components.shape == (20, 3)
    assert Projection.fit(torch.ones(5, 4), 4)(torch.ones(2, 4)).shape == (2, 0)
    assert Projection.fit(features(4, 20), 20).components.shape == (20, 3)  # the centre takes one of four images


def test_many_images_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(300, 6)
    whole = Projection.fit(x, 2).components
    monkeypatch.setattr(pca_module, "FITTED_ON", 100)
    few = Projection.fit(x, 2).components
    assert not torch.equal(few, whole)
    assert (few * whole).sum(0).abs().min() > 0.9
    assert torch.equal(few, Projection.fit(x, 2).components)


def test_the_number_of_components_is_in_the_readouts_name() -> None:
    assert [components_of(text) for text in ("pca", "pca64", "pca0", "pcas", "mean")] == [256, 64, None, None, None]


def test_pixels_are_read_by_their_components_too(digits: Dataset) -> None:
    pixels, readout = Pixels(digits, CPU), Readout(0, "pca10")
    assert pixels.candidates("best", "pca10") == [readout]
    whole = {split: pixels.features(split, pixels.candidates("best", "best")) for split in ("train", "validation")}  # type: ignore[arg-type]
    train, validation = (next(iter(each.values())) for each in whole.values())
    expected = PCA(10, svd_solver="full").fit(train.numpy()).transform(validation.numpy())
    components = pixels.features("validation", [readout])[readout]
    torch.testing.assert_close(components.abs(), torch.tensor(expected).abs(), rtol=1e-3, atol=1e-4)
    values = [Protocols((KnnProtocol(readout=name),))(experiment().build(), digits, CPU) for name in ("pca3", "best")]
    assert values[0][KNN.pixels_column] < values[1][KNN.pixels_column]  # type: ignore[operator]
