"""The model is what its documentation says, for every order and position that there is."""

import dataclasses
import itertools

import pytest
import timm
import torch

import darl
from darl.errors import UserError
from darl.model.encoder_config import SIZES
from darl.model.initial_weights import initialize
from darl.model.noise import Corruption
from darl.model.objectives.base import Objective
from darl.model.objectives.diffusion import Diffusion
from darl.model.objectives.mse import Mse
from darl.model.orders import Order, inverse
from darl.model.patches import unpatchify
from darl.model.positions import Position
from tests.model.counted_operations import counted_operations
from tests.model.reference_model import reference_context, reference_denoise
from tests.model.saved_memory import bytes_per_token_and_layer, square_tensors
from tests.model.small_models import SMALL, context, images, small

SHIPPED = {
    Order: ["raster", "column", "snake", "nested_raster", "round_robin", "hilbert", "spiral", "random"],
    Position: ["absent", "sincos2d", "learned", "rope1d", "rope2d"],
}
ORDERS = [order() for kind, order in Order.kinds().items() if kind in SHIPPED[Order]]
POSITIONS = [position() for kind, position in Position.kinds().items() if kind in SHIPPED[Position]]
EVERY = list(itertools.product(ORDERS, POSITIONS))
NAMES = [f"{order.kind}-{position.kind}" for order, position in EVERY]


def test_every_documented_name_exists() -> None:
    for family, names in SHIPPED.items():
        assert set(names) <= set(family.kinds())
    assert list(SIZES) == ["nano", "tiny", "small", "base", "large", "huge"]
    assert {"mse", "diffusion"} <= set(Objective.kinds())


@pytest.mark.parametrize(("order", "position"), EVERY, ids=NAMES)
def test_a_patch_changes_no_prediction_up_to_its_own(order: Order, position: Position) -> None:
    for objective in (Mse(), Diffusion()):
        model = small(objective, order=order, position=position)
        draws = dict(model.draw(range(2), 0))
        if "gamma" in draws:  # so that a patch's noisy version says nothing of the patch
            draws["gamma"] = torch.zeros_like(draws["gamma"])
        before = model(images(), draws)["prediction"]
        for index in range(len(model.order)):
            patches, _ = model.encoder.patches(images())
            patches[:, index] += 1
            changed = unpatchify(patches[:, inverse(model.order)], model.encoder.grid, 2)
            after = model(changed, draws)["prediction"]
            torch.testing.assert_close(after[:, : index + 1], before[:, : index + 1], rtol=0, atol=1e-12)
            if index + 1 < len(model.order):
                assert (after[:, index + 1 :] - before[:, index + 1 :]).abs().amax((0, 2)).min() > 1e-9


@pytest.mark.parametrize(("order", "position"), EVERY, ids=NAMES)
def test_forward_agrees_with_the_slow_reference(order: Order, position: Position) -> None:
    for causal in (True, False):
        model = small(order=order, position=position, causal=causal)
        patches, _ = model.encoder.patches(images())
        expected = reference_context(model, patches)
        torch.testing.assert_close(context(model, patches), expected, rtol=0, atol=1e-10)
        draws = model.draw(range(2), 0)
        corruption = Corruption(**draws)
        prediction = reference_denoise(model, expected, corruption.apply(patches), corruption.gamma)
        out = model(images(), draws)
        torch.testing.assert_close(out["prediction"], prediction, rtol=0, atol=1e-10)
        torch.testing.assert_close(out["loss"], (prediction - patches).square().mean(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", ["decoder_depth=3", "gamma_conditioning=true", "prediction=eps"])
def test_the_decoders_options_agree_with_the_slow_reference(options: str) -> None:
    model = small(f"diffusion:{options}", noise=(2.0, 2.0))
    patches, _ = model.encoder.patches(images())
    draws = model.draw(range(2), 0)
    corruption = Corruption(**draws)
    noisy = corruption.apply(patches)
    expected = reference_denoise(model, reference_context(model, patches), noisy, corruption.gamma)
    out = model(images(), draws)
    torch.testing.assert_close(out["prediction"], expected, rtol=0, atol=1e-8)
    if "eps" in options:  # the loss is of the noise, and the clean patch follows from it
        gamma = corruption.gamma.unsqueeze(-1)
        noise = (noisy - gamma.sqrt() * expected) / (1 - gamma).sqrt()
        torch.testing.assert_close(out["loss"], (noise - corruption.noise).square().mean(), rtol=1e-6, atol=0)


def test_with_gamma_0_a_prediction_does_not_depend_on_its_own_patch() -> None:
    model = small()
    patches, _ = model.encoder.patches(images())
    prepared = model.decoder.prepare(context(model, patches))
    gamma, noise = torch.zeros(patches.shape[:2]).double(), torch.randn_like(patches)
    denoised = model.decoder.denoise(prepared, Corruption(gamma, noise).apply(patches), gamma)
    other = model.decoder.denoise(prepared, Corruption(gamma, noise).apply(patches + 5), gamma)
    torch.testing.assert_close(denoised, other, rtol=0, atol=0)


def test_with_gamma_1_the_decoder_sees_the_clean_patch() -> None:
    clean, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    torch.testing.assert_close(Corruption(torch.ones(2, 3), noise).apply(clean), clean, rtol=0, atol=0)
    model = small()
    patches, _ = model.encoder.patches(images())
    ones = torch.ones(patches.shape[:2]).double()
    prepared = model.decoder.prepare(context(model, patches))
    moved = model.decoder.denoise(prepared, patches + 1, ones) - model.decoder.denoise(prepared, patches, ones)
    assert moved.abs().amax(2).min() > 1e-6


def test_corruption_keeps_variance() -> None:
    clean, noise = torch.randn(200, 50, 8), torch.randn(200, 50, 8)
    for gamma in (0.0, 0.3, 1.0):
        assert abs(Corruption(torch.full((200, 50), gamma), noise).apply(clean).var().item() - 1) < 0.02


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.kind)
def test_features_come_back_in_raster_order(order: Order) -> None:
    """Without the mask and with 2D positions, the order in which patches are read changes nothing."""
    raster = small(causal=False).encoder
    other = small(causal=False, order=order).encoder
    other.load_state_dict(raster.state_dict())
    torch.testing.assert_close(other.forward_features(images()), raster.forward_features(images()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.kind)
def test_the_last_readout_has_seen_every_patch_and_no_other_token_has(order: Order) -> None:
    model = small(order=order, readout="last")
    features = model.forward_features(images())
    torch.testing.assert_close(model.forward_head(features), features[:, int(model.order[-1])], rtol=0, atol=0)
    changed, last = images(), divmod(int(model.order[-1]), 4)
    changed[:, :, 2 * last[0], 2 * last[1]] += 1
    moved = (model.forward_features(changed) - features).abs().amax((0, 2)) > 1e-9
    assert moved.nonzero().flatten().tolist() == [int(model.order[-1])]


def test_mean_readout_is_the_mean() -> None:
    features = torch.randn(2, 12, 32).double()
    torch.testing.assert_close(small().forward_head(features), features.mean(1))


@pytest.mark.parametrize("position", POSITIONS, ids=lambda position: position.kind)
def test_another_resolution_is_taken_for_features(position: Position) -> None:
    encoder = darl.create_model(SMALL, image_size=8, channels=3, position=position).encoder
    assert encoder.forward_features(torch.randn(1, 3, 12, 16)).shape == (1, 48, 32)


def test_pretraining_refuses_another_size() -> None:
    with pytest.raises(UserError, match=r"images must have shape \(batch, \(2, 6, 8\)\), got \(1, 2, 8, 8\)"):
        small()(torch.randn(1, 2, 8, 8).double())


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_parameters_are_timms_except_the_listed_parts(name: str) -> None:
    vit = timm.create_model(f"vit_{name}_patch16_224", num_classes=0)
    expected = {part: tuple(value.shape) for part, value in vit.named_parameters()}
    del expected["pos_embed"]  # rotary: none; timm's has one vector per patch and one for the class token
    expected["start_token"] = expected.pop("cls_token")
    ours = darl.create_model(name).encoder
    assert {part: tuple(value.shape) for part, value in ours.named_parameters()} == expected


def test_a_learned_position_adds_one_vector_per_patch() -> None:
    def count(position: str) -> int:
        model = darl.create_model("nano", image_size=32, patch_size=4, position=position)
        return sum(value.numel() for value in model.parameters())

    assert count("learned") - count("rope2d") == 64 * 64
    assert count("sincos2d") == count("rope2d") == count("absent")


@pytest.mark.parametrize(
    "objective",
    [
        "mse",
        "mse:head_depth=2",
        "diffusion",
        "diffusion:decoder_depth=2,gamma_conditioning=true",
        "diffusion:prediction=eps",
    ],
)
@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_flops_are_those_of_the_documented_formula(objective: str, size: str) -> None:
    model = darl.create_model(size, image_size=32, patch_size=4, objective=objective)
    assert counted_operations(model, torch.randn(2, 3, 32, 32)) == 2 * model.flops()


def test_paired_models_start_from_the_same_weights() -> None:
    mse = darl.create_model(SMALL, image_size=8, channels=1, objective="mse", seed=3).state_dict()
    other = darl.create_model(SMALL, image_size=8, channels=1, position="learned", seed=3).state_dict()
    shared = mse.keys() & other.keys()
    assert len(shared) > 20
    for name in shared - {"decoder.head.weight"}:
        torch.testing.assert_close(mse[name], other[name], rtol=0, atol=0)
    different = darl.create_model(SMALL, image_size=8, channels=1, seed=4).state_dict()
    assert not torch.equal(different["encoder.blocks.0.attn.qkv.weight"], mse["encoder.blocks.0.attn.qkv.weight"])


def test_creating_a_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    model = darl.create_model(SMALL, image_size=8, channels=1)
    state = torch.get_rng_state()
    initialize(model, 7)
    assert torch.equal(state, torch.get_rng_state())


def test_memory_saved_for_the_backward_pass() -> None:
    """At most 38 bytes × width per token and layer under bfloat16 autocast, and nothing of N × N.

    4 norm's input + 2 its output + 6 rotated q, k, v + 2 attention + 4 norm's input + 2 its output + 8 + 8 MLP = 36.
    """
    per_token, width = bytes_per_token_and_layer()
    assert per_token <= 38 * width
    assert not square_tensors("mse")
    assert not square_tensors("diffusion")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "gan"}, "objective must be one of"),
        ({"order": "zigzag"}, "order must be one of"),
        ({"position": "alibi"}, "position must be one of"),
        ({"noise": (-1.0, 1.0)}, r"noise.a must be positive, got -1.0"),
        ({"image_size": 30}, "image_size must be a multiple of patch_size 4, got 30"),
        ({"readout": "max"}, "model.readout must be mean or last, got 'max'"),
    ],
)
def test_bad_arguments_name_the_field_the_value_and_the_remedy(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        darl.create_model("nano", **{"image_size": 32, "patch_size": 4, **options})  # type: ignore[arg-type]


def test_unknown_names_and_bad_combinations_are_refused() -> None:
    with pytest.raises(UserError, match="model must be one of nano, tiny, small, base, large, huge, got 'giant'"):
        darl.create_model("giant")
    with pytest.raises(UserError, match="be a multiple of 4 for position rope2d, got 6"):
        darl.create_model(dataclasses.replace(SMALL, width=12), image_size=8)
    with pytest.raises(UserError, match="normalize_target must be false for generation"):
        small("mse:normalize_target=true").generate(1)


def test_normalised_targets() -> None:
    model = small("mse:normalize_target=true")
    patches, _ = model.encoder.patches(images())
    target = (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
    expected = (model(images())["prediction"] - target).square().mean()
    torch.testing.assert_close(model(images())["loss"], expected)
