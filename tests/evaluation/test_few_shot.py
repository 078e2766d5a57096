"""Few labels: ridge regression against scikit-learn's, and which images are drawn."""

import statistics

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import Ridge

from darl.data import Dataset
from darl.evaluation.feature_protocol import one_hot, ridge, standardize
from darl.evaluation.few_shot import FewShotProtocol, draw_labelled
from darl.evaluation.subject import Readout, Subject
from darl.metrics import FEW_SHOT_5, FEW_SHOT_10, FEW_SHOT_WIDTHS
from tests.evaluation.example_features import blobs
from tests.evaluation.example_subjects import CPU, experiment


@pytest.mark.parametrize("images", [5, 60], ids=["fewer images than features", "more"])
def test_ridge_is_scikit_learns(images: int) -> None:
    x, y = blobs(images, 1.0, 1)
    targets, penalty = one_hot(y, 3), 0.3
    alpha = penalty * x.square().sum(1).mean().item()
    peer = Ridge(alpha=alpha, fit_intercept=False).fit(x.double().numpy(), targets.double().numpy())
    torch.testing.assert_close(
        ridge(x.double(), targets.double(), [penalty, 1.0])[0].numpy(), peer.coef_.T, rtol=1e-5, atol=1e-8
    )


def test_constant_features_have_no_weight() -> None:
    for images in (5, 60):
        (weights,) = ridge(torch.zeros(images, 8), one_hot(torch.arange(images) % 3, 3), [0.1])
        assert torch.equal(weights, torch.zeros(8, 3))


def test_each_draw_has_as_many_images_of_each_class() -> None:
    y = torch.arange(90) % 3
    drawn = draw_labelled(y, 3, 5, draws=4)
    assert drawn.shape == (4, 15)
    for row in drawn:
        assert torch.bincount(y[row]).tolist() == [5, 5, 5]
        assert len(set(row.tolist())) == 15
    assert len({tuple(row.tolist()) for row in drawn}) == 4
    assert torch.equal(drawn, draw_labelled(y, 3, 5, draws=4))


def test_a_class_with_too_few_images_gives_all_of_them() -> None:
    y = torch.tensor([0] * 20 + [1] * 2)
    (row,) = draw_labelled(y, 3, 5, draws=1)
    assert set(row[y[row] == 1].tolist()) == {20, 21}
    assert len(row) == 10


def test_the_figures_are_means_over_draws_with_their_interval(digits: Dataset) -> None:
    """Put together from scikit-learn's ridge regressions, with the readout and penalty that the protocol chose."""
    subject = Subject(experiment().build(), digits, CPU)
    result = FewShotProtocol(draws=3).measure(subject)
    y, test_y = subject.labels("train"), subject.labels("validation").numpy()
    for labels, metric in ((5, FEW_SHOT_5), (10, FEW_SHOT_10)):
        block, pooling, penalty = str(result[f"few_shot_{labels}_readout"]).split(", ")
        readout, strength = Readout(int(block[6:]), pooling), float(penalty[8:])
        pair = [subject.features(split, [readout])[readout] for split in ("train", "validation")]  # type: ignore[arg-type]
        x, test_x = standardize(*pair)
        each = []
        for row in draw_labelled(y, 10, labels, draws=3):
            alpha = strength * x[row].square().sum(1).mean().item()
            peer = Ridge(alpha=alpha, fit_intercept=False).fit(x[row].numpy(), one_hot(y[row], 10).numpy())
            each.append(float(np.mean(peer.predict(test_x.numpy()).argmax(1) == test_y)))
        assert result[metric.column] == pytest.approx(statistics.fmean(each), abs=0.002)
        low, high = stats.t.interval(0.95, 2, statistics.fmean(each), stats.sem(each))
        assert result[FEW_SHOT_WIDTHS[metric.column].column] == pytest.approx((high - low) / 2, abs=0.01)


def test_more_labels_are_better(digits: Dataset) -> None:
    result = FewShotProtocol().measure(Subject(experiment().build(), digits, CPU))
    assert result[FEW_SHOT_5.column] < result[FEW_SHOT_10.column] < 1  # type: ignore[operator]
