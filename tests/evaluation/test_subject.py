"""Frozen features: what they are, and that an evaluation computes them once."""

import pytest
import torch

from darl.data import Dataset
from darl.evaluation.subject import Subject, readouts
from tests.evaluation.example_subjects import CPU, experiment, unlabelled


def test_readouts_keep_the_order_of_the_images(digits: Dataset) -> None:
    model = experiment().build()
    x, y = readouts(model, digits, digits.validation, device=CPU)
    assert y.tolist() == digits.validation.labels.tolist()
    images = (torch.tensor(digits.validation.pixels[-3:]).float() / 255 - digits.mean[0]) / digits.std[0]
    expected = model.forward_features(images).mean(1)
    torch.testing.assert_close(x[-3:], expected.detach(), rtol=1e-4, atol=1e-5)


def test_features_that_are_not_finite_are_an_error(digits: Dataset) -> None:
    model = experiment().build()
    torch.nn.init.constant_(model.encoder.norm.weight, torch.nan)
    with pytest.raises(ArithmeticError, match="try a lower learning rate"):
        readouts(model, digits, digits.validation, device=CPU)


def test_readouts_are_computed_once(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    usual, larger = subject.readouts("validation"), subject.readouts("validation", 12)
    assert subject.readouts("validation") is usual
    assert subject.readouts("validation", 12) is larger
    assert not torch.equal(usual[0], larger[0])
    assert subject.classes == 10


def test_data_is_labelled_where_both_splits_are(digits: Dataset) -> None:
    model = experiment().build()
    assert Subject(model, digits, CPU).labelled
    assert not Subject(model, unlabelled(digits), CPU).labelled
