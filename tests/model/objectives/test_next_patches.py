"""Several next patches: each output of the trunk also predicts later patches, and nothing else changes."""

import pytest
import torch

import darl
from darl.errors import UserError
from darl.experiment import Experiment
from tests.model.counted_operations import counted_operations
from tests.model.reference_model import reference_context
from tests.model.small_models import context, images, small


def test_the_loss_is_the_mean_over_decoders_of_the_patches_that_each_predicts() -> None:
    model = small("mse", next_patches=3, order="spiral")
    patches, _ = model.encoder.patches(images())
    z, decoders = reference_context(model, patches), [model.decoder, *model.decoder.ahead]
    each = []
    for ahead, decoder in enumerate(decoders):
        errors = [
            (decoder.head(z[image, t]) - patches[image, t + ahead]).square().mean()
            for image in range(2)
            for t in range(12 - ahead)
        ]
        each.append(torch.stack(errors).mean())
    assert len(each) == 3
    torch.testing.assert_close(model(images())["loss"], torch.stack(each).mean(), rtol=0, atol=1e-10)


def test_diffusion_denoises_the_same_noisy_patch_from_further_back() -> None:
    model = small("diffusion", next_patches=2)
    patches, _ = model.encoder.patches(images())
    draws, z = model.draw(range(2), 0), context(model, patches)
    first, _ = model.decoder.loss(z, patches, draws)
    shifted = {"gamma": draws["gamma"][:, 1:], "noise": draws["noise"][:, 1:]}
    second, _ = model.decoder.ahead[0].loss(z[:, :-1], patches[:, 1:], shifted)
    out = model(images(), draws)
    torch.testing.assert_close(out["loss"], (first + second) / 2)
    assert out["prediction"].shape == (2, 12, 8)


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_no_decoder_reads_the_patch_that_it_predicts_or_one_after_it(objective: str) -> None:
    """The output that predicts patches t, t + 1 and t + 2 does not change with patch t or any later one."""
    model = small(objective, next_patches=3)
    patches = torch.randn(1, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (0, 4, 9):
        changed = patches.clone()
        changed[:, t:] += 1
        noisy, gamma = torch.zeros(1, 1, 8).double(), torch.zeros(1, 1).double()
        for decoder in (model.decoder, *model.decoder.ahead):
            read = [
                decoder.denoise(decoder.prepare(context(model, each)[:, t : t + 1]), noisy, gamma)
                for each in (patches, changed)
            ]
            assert torch.equal(*read)
        assert t == 0 or not torch.equal(context(model, patches + 1)[:, t], context(model, patches)[:, t])


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_features_estimates_and_drawings_are_those_without_it(objective: str) -> None:
    model, plain = small(objective, next_patches=2), small(objective)
    noisy, gamma = torch.zeros(2, 12, 8).double(), torch.zeros(2, 12).double()
    assert torch.equal(*(one.denoiser(images()).estimate(noisy, gamma) for one in (model, plain)))
    assert torch.equal(model.forward_features(images()), plain.forward_features(images()))
    assert torch.equal(model.generate(1, steps=1), plain.generate(1, steps=1))
    assert {name for name in model.state_dict() if name not in plain.state_dict()} == {
        f"decoder.ahead.0.{name}" for name, _ in plain.decoder.named_parameters()
    }


@pytest.mark.parametrize("objective", ["mse", "mse:head_depth=1", "diffusion:gamma_conditioning=true"])
@pytest.mark.parametrize("ahead", [2, 4])
def test_flops_are_those_of_the_documented_formula(objective: str, ahead: int) -> None:
    model = darl.create_model("nano", image_size=8, patch_size=4, objective=objective, next_patches=ahead)
    assert counted_operations(model, torch.randn(2, 3, 8, 8)) == 2 * model.flops()


def test_a_record_has_it_only_where_it_is_given() -> None:
    own = Experiment().changed({"next_patches": "2"})
    assert Experiment.from_record(own.to_record()) == own
    assert "next_patches" not in Experiment().to_record()
    assert own.changed({"next_patches": "none"}) == Experiment()
    assert own.trial_id != Experiment().trial_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"next_patches": 1}, r"next_patches must be between 2 and the 4 patches, or none, got 1"),
        ({"next_patches": 5}, r"next_patches must be between 2 and the 4 patches, or none, got 5"),
        ({"next_patches": 2, "objective": "nepa"}, r"next_patches must be left out for objective nepa, got 2"),
        ({"next_patches": 2, "attention": "prefix"}, r"next_patches must be none for attention prefix, .*, got 2"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        darl.create_model("nano", image_size=8, patch_size=4, **changes)  # type: ignore[arg-type]
