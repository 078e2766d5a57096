"""Images are drawn patch by patch, each from those before it."""

import pytest
import torch

import darl
from darl.errors import UserError
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.diffusion import DiffusionDecoder
from darl.model.sampling import Ddim, Sampling
from tests.model.small_models import context, images, small


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
@pytest.mark.parametrize("position", ["rope2d", "learned"])
def test_generation_with_the_cache_agrees_with_the_whole_sequence(objective: str, position: str) -> None:
    model = small(objective, position=position, order="spiral")
    patches, _ = model.encoder.patches(images())
    whole = context(model, patches)
    cache = model.encoder.new_cache()
    for index in range(len(model.order)):
        output = model.encoder.next_output(patches[:, index - 1] if index else None, index, 2, cache)
        torch.testing.assert_close(output[:, 0], whole[:, index], rtol=0, atol=1e-10)


GAMMA = "gamma_conditioning=true"
DRAWING = ["mse", f"diffusion:{GAMMA}", f"diffusion:prediction=eps,{GAMMA}", "mse:head_depth=2"]


@pytest.mark.parametrize("objective", DRAWING)
@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_generation(objective: str, sampler: str) -> None:
    model = small(objective, order="hilbert")
    prefix = torch.randn(3, 5, model.patch_dim).double()
    drawn, again = (model.generate(3, steps=4, prefix=prefix, seed=2, sampler=sampler) for _ in range(2))
    assert drawn.shape == (3, 2, 6, 8)
    assert drawn.isfinite().all()
    torch.testing.assert_close(drawn, again, rtol=0, atol=0)
    kept, _ = model.encoder.patches(drawn)
    torch.testing.assert_close(kept[:, :5], prefix, rtol=0, atol=0)


def test_each_patch_is_drawn_given_those_before_it() -> None:
    """The same draws as without a cache, from the whole sequence."""
    model = small(f"diffusion:{GAMMA}", order="spiral")
    how, decoder = Sampling(steps=3, sampler=Ddim(), temperature=0.7), model.decoder
    assert isinstance(decoder, DiffusionDecoder)
    generator, patches = torch.Generator().manual_seed(5), torch.zeros(2, len(model.order), model.patch_dim).double()
    for index in range(len(model.order)):
        z = context(model, patches)[:, index : index + 1]
        patches[:, index] = decoder.sample(z, how, generator)[:, 0].detach()
    drawn = model.generate(2, steps=3, sampler="ddim", temperature=0.7, seed=5)
    torch.testing.assert_close(model.encoder.patches(drawn)[0], patches, rtol=0, atol=1e-9)


def test_a_model_that_cannot_know_gamma_draws_in_one_step() -> None:
    model = small("diffusion")
    one, default = model.generate(2, steps=1, seed=3), model.generate(2, seed=3)
    torch.testing.assert_close(default, one, rtol=0, atol=0)
    remedy = r"be true \(in pretraining\) to draw patches of 8 numbers in more than one step \(or set steps to 1\)"
    with pytest.raises(UserError, match=rf"^objective.gamma_conditioning must {remedy}, got False$"):
        model.generate(2, steps=2)
    with pytest.raises(UserError, match=r"^objective.gamma_conditioning must be true \(in pretraining\) to draw"):
        small("diffusion:prediction=eps").generate(2)


def test_patches_of_enough_pixels_need_no_gamma() -> None:
    size = EncoderConfig(width=32, depth=1, heads=2, patch_size=16)
    model = darl.create_model(size, image_size=32, channels=1, objective="diffusion")
    assert not torch.equal(model.generate(1), model.generate(1, steps=1))


def test_generation_needs_the_causal_mask() -> None:
    with pytest.raises(UserError, match=r"^causal must be true for generation, got False$"):
        small(causal=False).generate(1)
