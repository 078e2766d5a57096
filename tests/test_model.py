"""The model is what its documentation says, for every order and position that there is."""

import dataclasses
import itertools

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

import darl
from darl.errors import UserError
from darl.model import SIZES, Darl, ModelSize
from darl.objective import Corruption, Diffusion, Mse, Objective
from darl.orders import Order, inverse
from darl.patches import unpatchify
from darl.positions import Position
from tests.memory import bytes_per_token_and_layer, square_tensors
from tests.reference import reference_context, reference_denoise

SMALL = ModelSize(width=32, depth=2, heads=2, patch_size=2)
SHIPPED = {
    Order: ["raster", "column", "snake", "nested_raster", "round_robin", "hilbert", "spiral", "random"],
    Position: ["absent", "sincos2d", "learned", "rope1d", "rope2d"],
}
ORDERS = [order() for kind, order in Order.kinds().items() if kind in SHIPPED[Order]]
POSITIONS = [position() for kind, position in Position.kinds().items() if kind in SHIPPED[Position]]
EVERY = list(itertools.product(ORDERS, POSITIONS))
NAMES = [f"{order.kind}-{position.kind}" for order, position in EVERY]


def small(objective: str | Objective = "diffusion", **options: object) -> Darl:
    options = {"image_size": (6, 8), "channels": 2, **options}
    return darl.create_model(SMALL, objective=objective, **options).double()  # type: ignore[arg-type]


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_every_name_of_the_contract_is_there() -> None:
    for family, names in SHIPPED.items():
        assert set(names) <= set(family.kinds())
    assert list(SIZES) == ["nano", "tiny", "small", "base", "large", "huge"]
    assert {"mse", "diffusion"} <= set(Objective.kinds())


@pytest.mark.parametrize(("order", "position"), EVERY, ids=NAMES)
def test_a_patch_changes_no_prediction_up_to_its_own(order: Order, position: Position) -> None:
    for objective in (Mse(), Diffusion()):
        model = small(objective, order=order, position=position)
        corruption = model.draw(range(2), 0)
        if corruption is not None:  # each patch's noisy version is its own affair: hold it still
            corruption = Corruption(torch.zeros_like(corruption.gamma).double(), corruption.noise.double())
        before = model(images(), corruption)["prediction"]
        for place in range(len(model.order)):
            patches, _ = model.encoder.patches(images())
            patches[:, place] += 1
            changed = unpatchify(patches[:, inverse(model.order)], model.encoder.grid, 2)
            after = model(changed, corruption)["prediction"]
            torch.testing.assert_close(after[:, : place + 1], before[:, : place + 1], rtol=0, atol=1e-12)
            if place + 1 < len(model.order):
                assert (after[:, place + 1 :] - before[:, place + 1 :]).abs().amax((0, 2)).min() > 1e-9


@pytest.mark.parametrize(("order", "position"), EVERY, ids=NAMES)
def test_forward_agrees_with_the_slow_reference(order: Order, position: Position) -> None:
    for causal in (True, False):
        model = small(order=order, position=position, causal=causal)
        patches, _ = model.encoder.patches(images())
        expected = reference_context(model, patches)
        torch.testing.assert_close(model.context(patches), expected, rtol=0, atol=1e-10)
        corruption = model.draw(range(2), 0)
        assert corruption is not None
        prediction = reference_denoise(model, expected, corruption.apply(patches), corruption.gamma)
        out = model(images(), corruption)
        torch.testing.assert_close(out["prediction"], prediction, rtol=0, atol=1e-10)
        torch.testing.assert_close(out["loss"], (prediction - patches).square().mean(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", ["decoder_depth=3", "gamma_conditioning=true", "prediction=eps"])
def test_the_decoders_options_agree_with_the_slow_reference(options: str) -> None:
    model = small(f"diffusion:{options}", noise=(2.0, 2.0))
    patches, _ = model.encoder.patches(images())
    corruption = model.draw(range(2), 0)
    assert corruption is not None
    noisy = corruption.apply(patches)
    expected = reference_denoise(model, reference_context(model, patches), noisy, corruption.gamma)
    out = model(images(), corruption)
    torch.testing.assert_close(out["prediction"], expected, rtol=0, atol=1e-8)
    if "eps" in options:  # the loss is of the noise, and the clean patch follows from it
        gamma = corruption.gamma.unsqueeze(-1)
        noise = (noisy - gamma.sqrt() * expected) / (1 - gamma).sqrt()
        torch.testing.assert_close(out["loss"], (noise - corruption.noise).square().mean(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["rope1d", "rope2d"])
def test_rotary_scores_depend_on_relative_coordinates_only(kind: str) -> None:
    rows, columns, head = 5, 7, 16
    table = Position.parse(kind).build((rows, columns), 32, head).rotation((rows, columns))
    assert table is not None
    sine, cosine = (half[:, ::2] for half in table.double().chunk(2, -1))
    turned = torch.complex(cosine, sine)
    q, k = (torch.randn(head // 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    scores = ((q * turned)[:, None] * (k * turned)[None].conj()).real.sum(-1)
    by_offset: dict[tuple[int, int], list[float]] = {}
    for one, other in itertools.product(range(rows * columns), repeat=2):
        offset = (one // columns - other // columns, one % columns - other % columns)
        by_offset.setdefault(offset, []).append(scores[one, other].item())
    spread = max(max(values) - min(values) for values in by_offset.values())
    assert spread < 1e-5
    assert max(map(max, by_offset.values())) - min(map(min, by_offset.values())) > 0.1
    row_only = [by_offset[(step, 0)][0] for step in range(rows)]
    assert len({round(score, 6) for score in row_only}) == rows


def test_half_the_channels_turn_with_the_row_and_half_with_the_column() -> None:
    table = Position.parse("rope2d").build((3, 4), 32, 16).rotation((3, 4))
    assert table is not None
    angles = torch.atan2(*table.chunk(2, -1)).reshape(3, 4, 16)
    assert (angles[:, :, :8] == angles[:, :1, :8]).all()
    assert (angles[:, :, 8:] == angles[:1, :, 8:]).all()
    assert (angles[1, 1, :8] == angles[1, 1, 8:]).all()


def test_the_start_token_is_not_turned() -> None:
    rotation = small().encoder.rotation
    assert rotation is not None
    sine, cosine = rotation[0, 0].chunk(2, -1)
    assert (sine == 0).all()
    assert (cosine == 1).all()


def test_with_gamma_0_a_prediction_does_not_depend_on_its_own_patch() -> None:
    model = small()
    patches, _ = model.encoder.patches(images())
    prepared = model.decoder.prepare(model.context(patches))
    gamma, noise = torch.zeros(patches.shape[:2]).double(), torch.randn_like(patches)
    one = model.decoder.denoise(prepared, Corruption(gamma, noise).apply(patches), gamma)
    other = model.decoder.denoise(prepared, Corruption(gamma, noise).apply(patches + 5), gamma)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_with_gamma_1_the_decoder_sees_the_clean_patch() -> None:
    clean, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    torch.testing.assert_close(Corruption(torch.ones(2, 3), noise).apply(clean), clean, rtol=0, atol=0)
    model = small()
    patches, _ = model.encoder.patches(images())
    ones = torch.ones(patches.shape[:2]).double()
    prepared = model.decoder.prepare(model.context(patches))
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
def test_parameters_are_timms_but_for_the_listed_parts(name: str) -> None:
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
    "objective", ["mse", "diffusion", "diffusion:decoder_depth=2,gamma_conditioning=true", "diffusion:prediction=eps"]
)
@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_flops_are_the_docstrings(objective: str, size: str) -> None:
    model = darl.create_model(size, image_size=32, patch_size=4, objective=objective)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
    assert counter.get_total_flops() == 2 * model.flops()


def test_paired_models_start_from_the_same_weights() -> None:
    one = darl.create_model(SMALL, image_size=8, channels=1, objective="mse", seed=3).state_dict()
    other = darl.create_model(SMALL, image_size=8, channels=1, position="learned", seed=3).state_dict()
    shared = one.keys() & other.keys()
    assert len(shared) > 20
    for name in shared - {"decoder.head.weight"}:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)
    different = darl.create_model(SMALL, image_size=8, channels=1, seed=4).state_dict()
    assert not torch.equal(different["encoder.blocks.0.attn.qkv.weight"], one["encoder.blocks.0.attn.qkv.weight"])


def test_creating_a_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    model = darl.create_model(SMALL, image_size=8, channels=1)
    state = torch.get_rng_state()
    darl.model.initialize(model, 7)
    assert torch.equal(state, torch.get_rng_state())


def test_memory_saved_for_the_backward_pass() -> None:
    """At most 38 bytes × width per token and layer under bfloat16 autocast, and nothing of N × N.

    4 norm's input + 2 its output + 6 turned q, k, v + 2 attention + 4 norm's input + 2 its output + 8 + 8 MLP = 36.
    """
    per_token, width = bytes_per_token_and_layer()
    assert per_token <= 38 * width
    assert not square_tensors("mse")
    assert not square_tensors("diffusion")


def test_turning_as_complex_numbers_is_timms_rotation() -> None:
    from timm.layers import apply_rot_embed_cat

    from darl.transformer import turn

    model = small()
    qkv, table = torch.randn(2, 13, 3, 2, 16), model.encoder.rotation
    assert table is not None
    torch.testing.assert_close(turn(qkv, table[:13]), apply_rot_embed_cat(qkv, table[:13].float()))
    low = turn(qkv.bfloat16(), table[:13].float())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), turn(qkv, table[:13]), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
@pytest.mark.parametrize("position", ["rope2d", "learned"])
def test_generation_with_the_cache_agrees_with_the_whole_sequence(objective: str, position: str) -> None:
    model = small(objective, position=position, order="spiral")
    patches, _ = model.encoder.patches(images())
    whole = model.context(patches)
    cache = [None] * 2
    for place in range(len(model.order)):
        step = model.next_context(patches[:, place - 1] if place else None, place, 2, cache)  # type: ignore[arg-type]
        torch.testing.assert_close(step[:, 0], whole[:, place], rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", ["mse", "diffusion", "diffusion:prediction=eps"])
def test_generation(objective: str) -> None:
    model = small(objective)
    prefix = torch.randn(3, 5, model.patch_dim).double()
    one, again = (model.generate(3, steps=4, prefix=prefix, seed=2) for _ in range(2))
    assert one.shape == (3, 2, 6, 8)
    assert one.isfinite().all()
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    kept, _ = model.encoder.patches(one)
    torch.testing.assert_close(kept[:, :5], prefix, rtol=0, atol=0)


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


def test_bad_names_and_combinations() -> None:
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
