import pytest
import torch
from timm.layers import PatchEmbed

from darl.errors import UserError
from darl.model.patches import grid_of, normalize_patches, patchify, unpatchify


def test_patches_are_cut_row_by_row() -> None:
    image = torch.arange(24.0).reshape(1, 1, 4, 6)
    patches = patchify(image, 2)
    assert patches.shape == (1, 6, 4)
    assert patches[0, 0].tolist() == [0, 1, 6, 7]
    assert patches[0, 1].tolist() == [2, 3, 8, 9]
    assert patches[0, 3].tolist() == [12, 13, 18, 19]


@pytest.mark.parametrize(("shape", "patch_size"), [((2, 3, 8, 8), 2), ((1, 1, 6, 10), 2), ((3, 4, 14, 28), 7)])
def test_unpatchify_inverts_patchify(shape: tuple[int, ...], patch_size: int) -> None:
    images = torch.randn(shape)
    grid = grid_of((shape[2], shape[3]), patch_size)
    torch.testing.assert_close(unpatchify(patchify(images, patch_size), grid, patch_size), images, rtol=0, atol=0)


def test_embedding_patch_vectors_is_timms_patch_embed() -> None:
    embed, images = PatchEmbed(8, 4, 3, 16), torch.randn(2, 3, 8, 8)
    mapped = torch.nn.functional.linear(patchify(images, 4), embed.proj.weight.flatten(1), embed.proj.bias)
    torch.testing.assert_close(mapped, embed(images))


def test_normalised_patches_have_mean_0_and_variance_1() -> None:
    patches = normalize_patches(3 + 5 * torch.randn(2, 4, 48))
    torch.testing.assert_close(patches.mean(2), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(patches.var(2), torch.ones(2, 4), atol=1e-4, rtol=0)


def test_a_flat_patch_normalises_to_zero() -> None:
    assert normalize_patches(torch.full((1, 1, 4), 7.0)).abs().max() == 0


def test_patch_size_must_divide_the_image() -> None:
    with pytest.raises(UserError, match=r"^image_size must be a multiple of patch_size 5, got 32$"):
        grid_of((32, 32), 5)
