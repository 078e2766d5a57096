"""Masked objectives: which patches are hidden, what the encoder reads of them, and what the loss counts."""

import pytest
import torch
from torch import Tensor

import darl
from darl.errors import UserError
from darl.model.darl import Darl
from darl.model.objectives.base import Objective
from darl.model.objectives.masked import Masked, MaskedDecoder
from darl.model.objectives.masked_patches import MaskedPatches
from darl.model.orders import Order
from darl.model.patches import unpatchify
from tests.model.small_models import images, small

BOTH = ["mae", "masked"]
both = pytest.mark.parametrize("kind", BOTH)


def hidden_by(model: Darl, shuffle: Tensor) -> Tensor:
    """True where a patch is hidden, (B, N) in raster order."""
    assert isinstance(model.objective, MaskedPatches)
    places = model.order[shuffle[:, model.objective.visible(shuffle.shape[1]) :]]
    return torch.zeros(shuffle.shape, dtype=torch.bool).scatter(1, places, True)


@pytest.mark.parametrize(("kind", "hidden"), [("mae", 9), ("masked", 7), ("mae:mask_ratio=0.5", 6)])
def test_each_image_hides_as_many_patches_all_of_them_equally_often(kind: str, hidden: int) -> None:
    model = small(kind)
    masks = hidden_by(model, model.draw(range(6400), 0)["shuffle"])
    assert masks.sum(1).unique().tolist() == [hidden]
    assert len(masks.unique(dim=0)) > 50
    often, sd = masks.double().mean(0), (hidden / 12 * (1 - hidden / 12) / 6400) ** 0.5
    assert (often - hidden / 12).abs().max() < 4 * sd


@both
def test_a_hidden_patch_is_not_read_and_a_visible_one_is_by_all(kind: str) -> None:
    model = small(kind)
    draws = model.draw(range(2), 0)
    before, masks = model(images(), draws)["prediction"], hidden_by(model, draws["shuffle"])
    for patch in range(12):
        changed = images()
        row, column = divmod(patch, 4)
        changed[:, :, 2 * row, 2 * column] += 1
        moved = (model(changed, draws)["prediction"] - before).abs().amax(2) > 1e-9
        for image in range(2):
            assert moved[image].tolist() == [not masks[image, patch]] * 12


@both
@pytest.mark.parametrize("normalized", [True, False])
def test_the_loss_is_the_error_of_the_hidden_patches(kind: str, normalized: bool) -> None:
    model = small(f"{kind}:normalize_target={normalized}", order="random")
    draws = model.draw(range(2), 0)
    out, (patches, _) = model(images(), draws), model.encoder.patches(images())
    if normalized:
        patches = (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
    masks = hidden_by(model, draws["shuffle"])[:, model.order]
    error = (out["prediction"] - patches)[masks].square().mean()
    torch.testing.assert_close(out["loss"], error, rtol=0, atol=1e-12)


@both
@pytest.mark.parametrize("order", Order.kinds())
@pytest.mark.parametrize("position", ["rope2d", "learned"])
def test_the_patch_order_changes_nothing(kind: str, order: str, position: str) -> None:
    raster, other = (small(kind, order=each, position=position) for each in ("raster", order))
    first, second = (model(images(), seed=3) for model in (raster, other))
    torch.testing.assert_close(first["loss"], second["loss"], rtol=0, atol=1e-12)
    torch.testing.assert_close(first["prediction"][:, other.order], second["prediction"], rtol=0, atol=1e-10)
    features = [model.forward_features(images()) for model in (raster, other)]
    torch.testing.assert_close(features[0], features[1], rtol=0, atol=1e-10)


def test_masked_agrees_with_the_slow_reference() -> None:
    """In raster order each hidden patch's embedding is replaced by the mask token, before the positions."""
    model = small("masked", position="sincos2d")
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(decoder, MaskedDecoder)
    draws = model.draw(range(2), 0)
    tokens = encoder.patch_embed(images())
    for image, patch in hidden_by(model, draws["shuffle"]).nonzero().tolist():
        tokens[image, patch] = decoder.mask.vector
    tokens = tokens + encoder.position.additive((3, 4))
    x = torch.cat([encoder.start_token.expand(2, -1, -1), tokens], dim=1)
    for block in encoder.blocks:
        x = block(x, None, False)
    expected = decoder.head.head(encoder.norm(x)[:, 1:])
    torch.testing.assert_close(model(images(), draws)["prediction"], expected, rtol=0, atol=1e-10)


def test_the_head_has_the_blocks_of_mse() -> None:
    masked, mse = (small(kind, causal=False) for kind in ("masked:head_depth=2", "mse:head_depth=2"))
    own = {name for name in masked.decoder.state_dict() if not name.startswith("mask.")}
    assert own == {f"head.{name}" for name in mse.decoder.state_dict()}
    one_patch = masked.config.trunk_flops(12) - masked.config.trunk_flops(11)
    assert masked.flops() - mse.flops() == one_patch  # `mse` does not read the last patch


@both
def test_features_are_read_from_whole_images(kind: str) -> None:
    model = small(kind)
    whole, again = (model.forward_features(images()) for _ in range(2))
    torch.testing.assert_close(whole, again, rtol=0, atol=0)
    patches, _ = model.encoder.patches(images())
    patches[:, 7] += 1
    changed = model.forward_features(unpatchify(patches, (3, 4), 2))
    assert (changed - whole).abs().amax((0, 2)).min() > 1e-9


@both
def test_a_model_made_by_name_has_no_causal_mask(kind: str) -> None:
    assert darl.create_model("nano", image_size=8, patch_size=2, objective=kind).encoder.causal is False
    with pytest.raises(UserError, match=rf"^causal must be false for objective {kind}, got True$"):
        darl.create_model("nano", image_size=8, patch_size=2, objective=kind, causal=True)


@both
@pytest.mark.parametrize("ratio", ["0", "1", "-0.5", "1.5"])
def test_a_ratio_is_a_fraction(kind: str, ratio: str) -> None:
    with pytest.raises(UserError, match=r"^objective\.mask_ratio must lie between 0 and 1, got"):
        Objective.parse(f"{kind}:mask_ratio={ratio}")


@both
@pytest.mark.parametrize("ratio", ["0.01", "0.99"])
def test_a_ratio_that_hides_nothing_or_all_is_refused(kind: str, ratio: str) -> None:
    message = rf"^objective\.mask_ratio must hide at least one of 12 patches, and leave one visible, got {ratio}$"
    with pytest.raises(UserError, match=message):
        small(f"{kind}:mask_ratio={ratio}")


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(UserError, match=r"^objective\.head_depth must be 0 or more, got -1$"):
        Masked(head_depth=-1)


@both
def test_generation_and_denoising_are_refused_naming_the_objective(kind: str) -> None:
    with pytest.raises(UserError, match=rf"^objective must predict the next patch for generation, got '{kind}'$"):
        small(kind).generate(1)
    with pytest.raises(UserError, match=rf"^objective must predict every patch to be evaluated by .*'{kind}'$"):
        small(kind).denoiser(images())
