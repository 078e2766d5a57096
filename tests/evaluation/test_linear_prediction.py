"""How hard an order's steps are for a linear predictor, beside scikit-learn's regressions and what algebra says."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from darl.data import Dataset, evaluation_batches
from darl.errors import UserError
from darl.evaluation.linear_prediction import RIDGE, PatchStatistics, linear_errors, patch_statistics, unevenness
from darl.model.orders import Order
from darl.model.patches import patchify


def patches_of(dataset: Dataset, patch_size: int) -> np.ndarray:
    images = torch.cat(list(evaluation_batches(dataset, dataset.train, batch_size=500, device="cpu")))
    return patchify(images, patch_size).double().numpy()


@pytest.mark.parametrize("kind", ["raster", "spiral", "random"])
def test_errors_are_those_of_ridge_regressions_step_by_step(digits: Dataset, kind: str) -> None:
    """A ridge of n times the variance that is added to the inputs, and the same variance of the targets left out."""
    x = patches_of(digits, 4)
    path = Order.parse(kind).permutation(2, 2)
    found = linear_errors(patch_statistics(digits, 4), path)
    x = (x - x.mean(0))[:, path.numpy()]
    assert found[0].item() == pytest.approx(x[:, 0].var(0).mean(), rel=1e-6)
    for step in range(1, 4):
        before, target = x[:, :step].reshape(len(x), -1), x[:, step]
        model = Ridge(alpha=len(x) * RIDGE, fit_intercept=False).fit(before, target)
        weights = model.coef_
        expected = ((target - model.predict(before)) ** 2).mean() + RIDGE * (weights**2).sum() / target.shape[1]
        assert found[step].item() == pytest.approx(expected, rel=1e-6)


def test_the_volumes_of_the_steps_errors_have_one_product_in_every_order(digits: Dataset) -> None:
    """With one number a patch, the volume is the error: the chain rule."""
    statistics = patch_statistics(digits, 1)
    products = [
        (linear_errors(statistics, Order.parse(kind).permutation(8, 8)) + RIDGE).log().sum().item()
        for kind in Order.kinds()
    ]
    assert products == pytest.approx([products[0]] * len(products))


def test_independent_patches_are_as_hard_in_every_order() -> None:
    variances = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    statistics = PatchStatistics(torch.diag(variances).view(4, 1, 4, 1), (2, 2), 1)
    for kind in Order.kinds():
        path = Order.parse(kind).permutation(2, 2)
        torch.testing.assert_close(linear_errors(statistics, path), variances[path])
    assert unevenness(variances) == pytest.approx(np.std([1, 2, 3, 4]) / 2.5)
    assert unevenness(torch.ones(4)) == 0


def test_patches_of_many_numbers_are_averaged_first(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darl.evaluation.linear_prediction.LARGEST_COVARIANCE", 16)
    statistics = patch_statistics(digits, 4)
    assert (statistics.pixels, statistics.grid, tuple(statistics.covariance.shape)) == (2, (2, 2), (4, 4, 4, 4))
    halved = patches_of(digits, 4).reshape(-1, 4, 2, 2, 2, 2).mean((3, 5)).reshape(-1, 16)
    expected = np.cov(halved.T, bias=True)
    np.testing.assert_allclose(statistics.covariance.reshape(16, 16), expected, atol=1e-9)


def test_a_patch_size_that_does_not_divide_the_image_is_refused(digits: Dataset) -> None:
    with pytest.raises(UserError, match=r"^image_size must be a multiple of patch_size 3"):
        patch_statistics(digits, 3)
