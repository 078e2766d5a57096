"""Images to train on."""

import dataclasses

import pytest

from darl.data import Dataset


@pytest.fixture(scope="session")
def small(digits: Dataset) -> Dataset:
    """96 digits to train on: three steps of 32 an epoch."""
    train = dataclasses.replace(digits.train, pixels=digits.train.pixels[:96], labels=digits.train.labels[:96])
    held = digits.validation
    validation = dataclasses.replace(held, pixels=held.pixels[:64], labels=held.labels[:64])
    return dataclasses.replace(digits, train=train, validation=validation)
