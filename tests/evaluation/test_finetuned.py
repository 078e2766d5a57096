"""What a fine-tuning evaluates is scikit-learn's figure of the same predictions."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score
from torch import nn

from darl.data import Dataset, Images
from darl.data.augment import normalize
from darl.evaluation.finetuned import Accuracy, NoEvaluation

CPU = torch.device("cpu")


@pytest.mark.parametrize("classes", [10, 13])
def test_accuracies_are_scikit_learns(digits: Dataset, classes: int) -> None:
    """Of classes that are not equally frequent; the test images give top-1 alone."""
    train, validation = (labelled(each, classes) for each in (digits.train, digits.validation))
    test = Images(train.pixels[:50], train.labels[:50])
    dataset = dataclasses.replace(digits, train=train, validation=validation, test=test)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).train()
    measured = Accuracy()(model, dataset, CPU)
    scores, y = scores_of(model, dataset, validation.pixels), validation.labels
    assert measured["finetune_top1"] == pytest.approx(accuracy_score(y, scores.argmax(1)))
    assert measured["finetune_balanced_top1"] == pytest.approx(balanced_accuracy_score(y, scores.argmax(1)))
    five = pytest.approx(top_k_accuracy_score(y, scores, k=5, labels=range(classes))) if classes > 10 else None
    assert measured["finetune_top5"] == five
    final = accuracy_score(test.labels, scores_of(model, dataset, test.pixels).argmax(1))
    assert measured["test_finetune_top1"] == pytest.approx(final)
    assert measured["split"] == dataset.split
    assert model.training
    assert NoEvaluation()(model, dataset, CPU).keys() < measured.keys()


def labelled(images: Images, classes: int) -> Images:
    """The same pixels with drawn labels: class 0 is rare, the last class frequent."""
    shares = np.linspace(1, 5, classes)
    drawn = np.random.default_rng(0).choice(classes, len(images) - classes, p=shares / shares.sum())
    return Images(images.pixels, np.concatenate([np.arange(classes), drawn]))


def scores_of(model: nn.Module, dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(normalize(torch.from_numpy(pixels.copy()), dataset.mean, dataset.std)).numpy()
