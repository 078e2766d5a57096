"""The encoder's primitives: an objective may choose what is read, in which order, and with which mask."""

import pytest
import torch
from torch import Tensor

from darl.model.darl import Darl
from darl.model.trunk import Trunk
from tests.model.small_models import images, small

POSITIONS = ["rope2d", "rope1d", "learned", "sincos2d", "absent"]


def read(position: str, **options: object) -> tuple[Darl, Tensor]:
    model = small(position=position, order="spiral", **options)
    patches, _ = model.encoder.patches(images())
    return model, patches


def test_the_encoder_provides_the_primitives() -> None:
    assert isinstance(small().encoder, Trunk)


@pytest.mark.parametrize("position", POSITIONS)
def test_patches_read_in_another_order_without_a_mask_give_the_same_outputs(position: str) -> None:
    model, patches = read(position)
    encoder, grid = model.encoder, model.encoder.grid
    at = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)])
    expected = encoder.trunk(encoder.embed(patches, grid), grid, causal=False)
    shuffled = patches.gather(1, at.unsqueeze(-1).expand_as(patches))
    output = encoder.trunk(encoder.embed(shuffled, grid, at), grid, at=at, causal=False)
    torch.testing.assert_close(output[:, 0], expected[:, 0], rtol=0, atol=1e-10)
    for image in range(2):
        torch.testing.assert_close(output[image, 1:], expected[image, 1:][at[image]], rtol=0, atol=1e-10)


@pytest.mark.parametrize("position", POSITIONS)
def test_the_first_patches_are_the_default(position: str) -> None:
    model, patches = read(position)
    encoder, grid, at = model.encoder, model.encoder.grid, torch.arange(5)
    output = encoder.trunk(encoder.embed(patches[:, :5], grid, at), grid, at=at)
    expected = encoder.trunk(encoder.embed(patches[:, :5], grid), grid)
    torch.testing.assert_close(output, expected, rtol=0, atol=0)


def test_causality_is_the_configured_one_unless_asked_for() -> None:
    model, patches = read("rope2d", causal=False)
    encoder, grid = model.encoder, model.encoder.grid
    tokens = encoder.embed(patches, grid)
    causal = encoder.trunk(tokens, grid, causal=True)
    torch.testing.assert_close(encoder.trunk(tokens, grid), encoder.trunk(tokens, grid, causal=False), rtol=0, atol=0)
    assert (encoder.trunk(tokens, grid) - causal).abs().max() > 1e-6
    encoder.causal = True
    torch.testing.assert_close(encoder.trunk(tokens, grid), causal, rtol=0, atol=0)


def test_a_mask_says_which_tokens_are_read() -> None:
    model, patches = read("rope2d")
    encoder, grid = model.encoder, model.encoder.grid
    tokens, triangle = encoder.embed(patches, grid), torch.ones(13, 13).tril().bool()
    expected = encoder.trunk(tokens, grid, causal=True)
    torch.testing.assert_close(encoder.trunk(tokens, grid, mask=triangle), expected, rtol=0, atol=1e-10)
    for_each_image = triangle.expand(2, 1, 13, 13)
    torch.testing.assert_close(encoder.trunk(tokens, grid, mask=for_each_image), expected, rtol=0, atol=1e-10)
