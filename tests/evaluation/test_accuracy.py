"""Accuracies against scikit-learn's, and their interval against Wilson's formula."""

import math

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from darl.evaluation.accuracy import accuracies, best_classes, half_width


def unbalanced(classes: int, images: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores that are right more often than not, of classes with fewer and fewer images; the last has none."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.cat([0.5 ** torch.arange(classes - 1), torch.zeros(1)])
    y = torch.multinomial(shares, images, replacement=True, generator=generator)
    scores = torch.randn(images, classes, generator=generator)
    return scores + 1.5 * torch.nn.functional.one_hot(y, classes), y


@pytest.mark.parametrize("classes", [3, 10, 11, 30])
def test_accuracies_are_scikit_learns(classes: int) -> None:
    scores, y = unbalanced(classes)
    measured = accuracies(best_classes(scores), y, classes, "probe")
    assert measured["probe_top1"] == (scores.argmax(1) == y).double().mean().item()
    with pytest.warns(UserWarning, match="classes not in y_true"):
        expected = balanced_accuracy_score(y, scores.argmax(1))
    assert measured["probe_balanced_top1"] == pytest.approx(expected)
    assert measured["probe_balanced_top1"] < measured["probe_top1"]  # type: ignore[operator]
    if classes > 10:
        top5 = top_k_accuracy_score(y, scores, k=5, labels=range(classes))
        assert measured["probe_top5"] == pytest.approx(top5)
    else:
        assert measured["probe_top5"] is None


def test_a_class_that_no_other_split_has_is_wrong() -> None:
    best, y = torch.tensor([[0], [1], [1], [0]]), torch.tensor([0, 1, 1, 2])
    measured = accuracies(best, y, 2, "probe")
    assert measured["probe_top1"] == 0.75
    assert measured["probe_balanced_top1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("classes", [5, 20])
def test_of_equal_scores_the_first_class_counts(classes: int) -> None:
    scores = torch.zeros(2, classes)
    scores[1, 3:] = 1
    assert best_classes(scores)[:, 0].tolist() == scores.argmax(1).tolist() == [0, 3]


@pytest.mark.parametrize(("right", "images"), [(0, 20), (19, 20), (352, 359), (6_000, 10_000)])
def test_the_interval_is_wilsons(right: int, images: int) -> None:
    """Wilson 1927, as in Brown, Cai and DasGupta 2001, equation 4."""
    z, p = 1.959963984540054, right / images
    expected = z * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2)) / (1 + z**2 / images)
    assert half_width(right, images) == pytest.approx(expected)


def test_the_interval_of_ten_thousand_images_is_about_a_point() -> None:
    assert accuracies(torch.ones(10_000, 1, dtype=torch.int64), torch.arange(10_000) % 2, 2, "knn")[
        "knn_half_width"
    ] == pytest.approx(0.0098, abs=1e-4)
