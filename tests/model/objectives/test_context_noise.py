"""Context noise: the trunk reads noisy patches in training, and nothing else changes."""

import pytest
import torch

import darl
from darl.errors import UserError
from darl.experiment import Experiment
from tests.model.reference_model import reference_context
from tests.model.small_models import images, small


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_the_trunk_reads_noisy_patches_and_predicts_clean_ones(objective: str) -> None:
    model = small(objective, order="spiral", context_noise=0.5)
    patches, _ = model.encoder.patches(images())
    draws = model.draw(range(2), 0)
    noisy = patches.clone()
    noisy[:, :-1] += draws["context_noise"]
    expected, _ = model.decoder.loss(reference_context(model, noisy), patches, draws)
    torch.testing.assert_close(model(images(), draws)["loss"], expected, rtol=0, atol=1e-10)
    clean = {name: value for name, value in draws.items() if name != "context_noise"}
    assert (model(images(), clean)["loss"] - expected).abs() > 1e-6


def test_the_noise_has_its_deviation_and_differs_from_diffusions() -> None:
    model = small("diffusion", context_noise=0.1)
    draws = model.draw(range(300), 0)
    assert draws["context_noise"].shape == (300, 11, 8)
    assert draws["context_noise"].std().item() == pytest.approx(0.1, rel=0.02)
    together = torch.stack([draws["context_noise"].flatten(), draws["noise"][:, :-1].flatten()])
    assert together.corrcoef()[0, 1].abs() < 0.03


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_features_estimates_and_drawings_are_those_without_it(objective: str) -> None:
    model, plain = small(objective, context_noise=0.5), small(objective)
    noisy, gamma = torch.zeros(2, 12, 8).double(), torch.zeros(2, 12).double()
    estimates = [one.denoiser(images()).estimate(noisy, gamma) for one in (model, plain)]
    assert torch.equal(*estimates)
    assert torch.equal(model.forward_features(images()), plain.forward_features(images()))
    assert torch.equal(model.generate(1, steps=1), plain.generate(1, steps=1))


def test_it_can_be_had_with_a_prefix() -> None:
    model = small("mse", context_noise=0.5, attention="prefix")
    assert model.draw(range(2), 0).keys() == {"prefix", "context_noise"}
    assert bool(model(images(), seed=0)["loss"].isfinite())


def test_a_record_has_it_only_where_it_is_given() -> None:
    own = Experiment().changed({"context_noise": "0.1"})
    assert Experiment.from_record(own.to_record()) == own
    assert "context_noise" not in Experiment().to_record()
    assert own.changed({"context_noise": "none"}) == Experiment()
    assert own.trial_id != Experiment().trial_id


def test_it_is_positive_and_for_objectives_that_predict_the_next_patch() -> None:
    with pytest.raises(UserError, match=r"^context_noise must be positive, or none, got 0$"):
        Experiment(context_noise=0)
    for objective in ("nepa", "mae"):
        with pytest.raises(UserError, match=rf"^context_noise must be left out for objective {objective}, got 0\.1$"):
            darl.create_model("nano", image_size=8, patch_size=4, objective=objective, context_noise=0.1)
