"""MSE with blocks in front of its linear map, so that it can be compared with diffusion at equal decoder size."""

import pytest
import torch

import darl
from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.encoder_config import SIZES
from darl.model.objectives.diffusion import Diffusion
from darl.model.objectives.mse import Mse
from tests.model.small_models import images, small


def parameters(model: torch.nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("depth", [1, 3])
def test_a_head_is_the_diffusion_decoder_without_the_embedding_of_the_noisy_patch(depth: int) -> None:
    mse, diffusion = (
        darl.create_model("nano", image_size=32, patch_size=4, objective=objective)
        for objective in (Mse(head_depth=depth), Diffusion(decoder_depth=depth))
    )
    width, patch_dim, patches = 64, 3 * 4 * 4, 64
    assert parameters(diffusion.decoder) - parameters(mse.decoder) == patch_dim * width
    assert diffusion.flops() - mse.flops() == 2 * patch_dim * width * patches
    assert parameters(mse.decoder) > 0.9 * parameters(diffusion.decoder)
    assert mse.flops() > 0.9 * diffusion.flops()


@pytest.mark.parametrize("size", ["base", "large"])
def test_the_decoders_of_large_models_differ_by_less_than_a_tenth(size: str) -> None:
    config = Experiment(model=SIZES[size], image_size=224, channels=3).model_config
    mse, diffusion = Mse(head_depth=1).patch_flops(config), Diffusion(decoder_depth=1).patch_flops(config)
    assert 0.9 * diffusion < mse < diffusion


def test_without_blocks_the_decoder_is_one_linear_map() -> None:
    assert list(small("mse").decoder.state_dict()) == ["head.weight", "head.bias"]


def test_the_blocks_learn_and_see_no_more_than_the_context() -> None:
    model = small("mse:head_depth=2")
    model(images())["loss"].backward()
    for name, value in model.decoder.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name
    other = images()
    other[:, :, -2:, -2:] += 1  # the last patch is a target and is never read
    torch.testing.assert_close(model(other)["prediction"], model(images())["prediction"], rtol=0, atol=0)


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(UserError, match=r"^objective\.head_depth must be 0 or more, got -1$"):
        Mse(head_depth=-1)
