"""Next-token prediction against a slow reference, for every combination of what is read and what is predicted."""

import math

import pytest
import torch

from darl.model.tokenizers.base import tokenizer_in
from tests.model.reference_model import reference_context
from tests.model.small_models import images, small
from tests.model.tokenizers.example_tokenizers import Levels

DVAE = "dvae:vocabulary=7,width=8,depth=1"


@pytest.mark.parametrize("order", ["raster", "spiral"])
@pytest.mark.parametrize("reads", [None, True])
@pytest.mark.parametrize("tokenizer", [DVAE, str(Levels())])
def test_the_loss_is_the_mean_surprise_at_each_patch_s_token(tokenizer: str, reads: bool | None, order: str) -> None:
    model = small("tokens", order=order, tokenizer=tokenizer, token_input=reads)
    patches, _ = model.encoder.patches(images())
    head, own = model.decoder.head, tokenizer_in(model)
    surprises: list[float] = []
    for outputs, image in zip(reference_context(model, patches), patches, strict=True):
        for output, patch in zip(outputs, image, strict=True):
            token = int(own.encode(patch.view(1, 2, 2, 2)))
            scores = (head.weight @ output + head.bias).tolist()
            surprises.append(math.log(sum(map(math.exp, scores))) - scores[token])
    assert len(surprises) == 2 * 12
    out = model(images())
    assert out["loss"].item() == pytest.approx(sum(surprises) / 24, abs=1e-9)
    assert out["prediction"].shape == (2, 12, own_size(tokenizer))


def own_size(tokenizer: str) -> int:
    return 7 if tokenizer == DVAE else Levels().vocabulary


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_pixels_are_predicted_from_tokens_alone(objective: str) -> None:
    """Two images of equal tokens have equal contexts; the target is the pixels' own."""
    model = small(objective, tokenizer=str(Levels()), token_input=True)
    near = images().clone()
    patches, _ = model.encoder.patches(near)
    shifted = near + 0.2 * (near - near.mean())
    tokens = model.encoder.tokenizer.tokens
    equal = torch.equal(tokens(near), tokens(near + 1e-9))
    assert equal
    assert torch.equal(model.forward_features(near), model.forward_features(near + 1e-9))
    assert not torch.equal(tokens(shifted), tokens(near))
    assert not torch.equal(model.forward_features(shifted), model.forward_features(near))
    assert torch.equal(model.objective.targets(patches), patches)


def test_a_model_that_reads_tokens_draws_pixels_patch_by_patch() -> None:
    """What it has drawn is tokenized before it is read: the same as reading the whole image."""
    model = small("mse", tokenizer=DVAE, token_input=True)
    drawn = model.generate(2, prefix=model.encoder.patches(images())[0][:, :5])
    patches, _ = model.encoder.patches(drawn)
    predicted = model(drawn)["prediction"]
    torch.testing.assert_close(patches[:, 5:], predicted[:, 5:])


def test_the_tokenizer_is_the_same_for_input_and_target() -> None:
    model = small("tokens", tokenizer=DVAE, token_input=True)
    assert [name for name in model.state_dict() if name.startswith("decoder.tokenizer")] == []
    assert model.decodes_tokens
    assert not small("mse").decodes_tokens
