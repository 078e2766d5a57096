"""One contract for every tokenizer, alone and in a model: a class that is defined goes through it by itself."""

from typing import Any

import pytest
import torch

from darl.errors import UserError
from darl.model.config import ModelConfig
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.model.objectives.base import Objective
from darl.model.orders import Spiral
from darl.model.positions import Rotary2d
from darl.model.tokenizers.base import Tokenizer, TokenizerModel, tokenizer_in
from tests.model.tokenizers.example_tokenizers import Levels, Ranks

SMALL: dict[str, Any] = {"dvae": {"vocabulary": 11, "width": 8, "depth": 1}}
"""Options with which a tokenizer is small, by its kind."""
TOKENIZERS = [kind(**SMALL.get(name, {})) for name, kind in Tokenizer.kinds().items()]
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.kind)
IN_ORDER = ["mse", "diffusion", "nepa", "tokens"]


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def model_of(tokenizer: Tokenizer, objective: str, seed: int = 0, **changes: Any) -> Darl:
    chosen = Objective.parse(objective)
    fixed = {
        "size": EncoderConfig(width=32, depth=2, heads=2, patch_size=2), "image_size": (8, 8), "channels": 2,
        "order": Spiral(), "position": Rotary2d(), "causal": chosen.causal_by_default, "objective": chosen,
        "noise": Beta() if chosen.uses_noise else None, "tokenizer": tokenizer, "token_input": True,
    }  # fmt: skip
    return ModelConfig(**{**fixed, **changes}).build(seed)


def test_a_new_tokenizer_is_found():
    assert Tokenizer.parse("example_levels:7") == Levels(vocabulary=7)
    assert {Levels(), Ranks()} <= set(TOKENIZERS)


@every_tokenizer
def test_each_patch_gets_one_token_of_the_vocabulary(tokenizer: Tokenizer):
    model = tokenizer.build(channels=2, patch_size=2)
    tokens = model.tokens(images())
    assert tokens.shape == (3, 16)
    assert not tokens.is_floating_point()
    assert tokens.min() >= 0
    assert tokens.max() < tokenizer.vocabulary
    assert len(tokens.unique()) > 1
    with torch.autocast("cpu", torch.bfloat16):  # a model may run so, its tokens stay
        assert torch.equal(model.tokens(images()), tokens)
    assert torch.equal(model.double().tokens(images().double())[:1], model.tokens(images()[:1].double()))


@every_tokenizer
def test_tokens_become_images_or_it_says_so(tokenizer: Tokenizer):
    model = tokenizer.build(channels=2, patch_size=2)
    if type(model).decode is TokenizerModel.decode:
        with pytest.raises(UserError, match=r"^tokenizer must be able to decode tokens"):
            model.decode(model.tokens(images()), (4, 4))
    else:
        assert model.decode(model.tokens(images()), (4, 4)).shape == (3, 2, 8, 8)


@every_tokenizer
@pytest.mark.parametrize("objective", IN_ORDER)
def test_a_causal_model_that_reads_tokens_predicts_no_patch_from_a_later_one(tokenizer: Tokenizer, objective: str):
    """Also where the tokenizer reads the whole image: what is read is encoded patch by patch."""
    model, pixels = model_of(tokenizer, objective), images(1)
    draws = model.draw(range(1), 0)
    before = model(pixels, draws)["prediction"]
    for index in (1, 8, 15):
        row, column = divmod(int(model.order[index]), 4)
        changed = pixels.clone()
        changed[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 5 * torch.randn(1, 2, 2, 2)
        after = model(changed, draws)["prediction"]
        assert torch.equal(after[:, :index], before[:, :index])


@every_tokenizer
def test_its_weights_are_the_model_s_and_do_not_learn(tokenizer: Tokenizer):
    first, other = model_of(tokenizer, "tokens"), model_of(tokenizer, "tokens", seed=1)
    own = tokenizer_in(first)
    assert own is first.encoder.tokenizer
    assert list(own.parameters()) == []
    held = {name for name in first.state_dict() if ".tokenizer." in name}
    assert held == {f"encoder.patch_embed.tokenizer.{name}" for name in own.state_dict()}
    for name in held:  # they are not the seed's
        assert torch.equal(first.state_dict()[name], other.state_dict()[name])
    first(images())["loss"].backward()
    assert all(value.grad is not None for value in first.parameters())


@every_tokenizer
@pytest.mark.parametrize("reads", [True, False])
def test_the_target_is_the_token_of_each_patch_in_the_whole_image(tokenizer: Tokenizer, reads: bool):
    model = model_of(tokenizer, "tokens", token_input=reads or None)
    patches, _ = model.encoder.patches(images())
    alone = tokenizer.build(channels=2, patch_size=2)
    alone.load_state_dict(tokenizer_in(model).state_dict())
    assert torch.equal(model.decoder.targets(model.encoder, patches), alone.encode(images())[:, model.order])


@every_tokenizer
def test_images_of_another_size_are_read(tokenizer: Tokenizer):
    assert model_of(tokenizer, "mse").forward_features(torch.randn(1, 2, 12, 10)).shape == (1, 30, 32)


def test_tokens_need_a_tokenizer_and_a_tokenizer_needs_a_use():
    for objective, reads in (("tokens", None), ("mse", True)):
        with pytest.raises(
            UserError,
            match=r"^tokenizer must be given (for objective tokens: one that darl tokenizer|where tokens are)",
        ):
            model_of(None, objective, token_input=reads)
    with pytest.raises(UserError, match=r"^tokenizer must be left out where its tokens are neither read nor predicted"):
        model_of(Levels(), "mse", token_input=None)
