"""The shapes in the annotations are checked while the tests run."""

import pytest
import torch
from jaxtyping import TypeCheckError

import darl
from darl.model.patches import patchify


def test_a_wrong_rank_is_caught() -> None:
    with pytest.raises(TypeCheckError):
        patchify(torch.zeros(3, 8, 8), 2)


def test_a_method_of_the_model_is_checked() -> None:
    model = darl.create_model("nano", image_size=8, patch_size=2)
    with pytest.raises(TypeCheckError):
        model.forward_features(torch.zeros(3, 8, 8))
