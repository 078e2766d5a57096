"""Random orders: held to a slow reference; nothing is predicted from its own patch or a later one in its order."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import Tensor

import darl
from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation.denoising import DenoisingProtocol
from darl.evaluation.once import model_key
from darl.evaluation.protocol import Protocols
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.orders import Order, inverse
from darl.model.patches import take, unpatchify
from darl.model.random_orders import PositionInstruction, RandomOrder, TargetAware, TwoStream
from darl.model.transformer import Attention
from tests.model.counted_operations import counted_operations
from tests.model.reference_random_orders import reference_random_context
from tests.model.saved_memory import square_tensors
from tests.model.small_models import SMALL, images, small

KINDS = ["two_stream", "position_instruction", "target_aware"]
EVERY = [(kind, position) for kind in KINDS for position in ("rope2d", "learned")] + [("target_aware", "absent")]
OTHERS = [pytest.param(kind, position, marks=pytest.mark.slow) for kind in KINDS for position in ("rope1d", "sincos2d")]
every_kind = pytest.mark.parametrize("kind", KINDS)


def model_of(kind: str | RandomOrder, objective: str = "mse", **options: object) -> Darl:
    return small(objective, **{"order": "spiral", "random_order": kind, **options})


def draws_of(model: Darl, count: int = 2, **changes: Tensor) -> dict[str, Tensor]:
    draws = {**model.draw(range(count), 0), **changes}
    if "gamma" in draws:  # so that a patch's noisy version says nothing of the patch
        draws["gamma"] = torch.zeros_like(draws["gamma"])
    return draws


def six() -> Tensor:
    """Images of 6 patches, for the slow reference."""
    return images()[:, :, :4, :6]


def context_of(model: Darl, order: Tensor, pixels: Tensor | None = None) -> Tensor:
    patches, _ = model.encoder.patches(images(len(order)) if pixels is None else pixels)
    return model.objective.context(model.encoder, patches, {"order": order}, model.decoder.reader)


@pytest.mark.parametrize(("kind", "position"), [*EVERY, *OTHERS])
def test_outputs_are_the_slow_reference_s(kind: str, position: str) -> None:
    model = model_of(kind, position=position, image_size=(4, 6))
    with torch.no_grad():
        for parameter in model.decoder.reader.parameters():  # larger than they begin, to be seen
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    order = model.draw_orders(range(2), 0, progress=0)["order"]
    patches, _ = model.encoder.patches(six())
    expected = reference_random_context(model, patches, order)
    torch.testing.assert_close(context_of(model, order, six()), expected, rtol=0, atol=1e-10)
    expected_loss, _ = model.decoder.loss(expected, patches, {})
    torch.testing.assert_close(model(six(), draws_of(model))["loss"], expected_loss, rtol=0, atol=1e-10)


@pytest.mark.parametrize("parts", [{"qk_norm": True}, {"swiglu": True}, {"init_values": 0.1}], ids=str)
def test_the_blocks_parts_are_those_of_both_streams(parts: dict[str, object]) -> None:
    """The queries of two streams are outputs of the same blocks: the first reads the start token alone."""
    model = small("mse", random_order="two_stream")
    own = Darl(replace(model.config, size=replace(SMALL, **parts))).double()
    order = torch.arange(12).expand(2, -1)
    tokens = own.decoder.reader.placed(own.encoder, order, torch.zeros(2, 1, 32).double())
    both = context_of(own, order)
    mask = torch.tensor([[True, False], [True, False]])  # neither reads the query
    alone = own.encoder.trunk(tokens[:, :1], own.encoder.grid, at=order[:, :1], mask=mask)
    torch.testing.assert_close(both[:, 0], alone[:, 1], rtol=0, atol=1e-10)


def require_blind_outputs(model: Darl) -> None:
    """Change each patch in turn: only outputs later in the image's order may move, and all of them must."""
    draws = draws_of(model)
    rank = draws["order"].argsort(1)
    assert not torch.equal(rank[0], rank[1])
    before = model(images(), draws)["prediction"]
    for patch in range(12):
        patches, _ = model.encoder.patches(images())
        patches[:, patch] += 1
        changed = unpatchify(patches[:, inverse(model.order)], model.encoder.grid, 2)
        moved = (model(changed, draws)["prediction"] - before).abs().amax(2)
        later = rank > rank[:, patch : patch + 1]
        assert moved[~later].max() < 1e-12
        assert not later.any() or moved[later].min() > 1e-9


@every_kind
def test_no_output_has_seen_its_own_patch_or_a_later_one(kind: str) -> None:
    require_blind_outputs(model_of(kind))


@pytest.mark.parametrize("diagonal", [1, -1], ids=["its own patch", "one patch too few"])
def test_a_query_that_reads_otherwise_would_be_noticed(monkeypatch: pytest.MonkeyPatch, diagonal: int) -> None:
    def reads_otherwise(self: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        content, query = q.chunk(2, 2)
        k, v = k.chunk(2, 2)[0], v.chunk(2, 2)[0]
        mask = torch.ones(12, 12).tril(diagonal).bool()
        mask[:, 0] = True  # the start token
        return torch.cat([self._attend(content, k, v, True, None), self._attend(query, k, v, False, mask)], 1)

    monkeypatch.setattr(Attention, "_attend_streams", reads_otherwise)
    with pytest.raises(AssertionError):
        require_blind_outputs(model_of("two_stream"))


@pytest.mark.parametrize(("kind", "position"), EVERY)
def test_the_model_is_told_which_patch_comes_next(kind: str, position: str) -> None:
    """After the same patches in the same order, or none, it expects something else of another patch."""
    model = model_of(kind, position=position)
    order = torch.arange(12).expand(2, -1)
    for read in (0, 8):
        other = order.clone()
        other[:, read:] = other[:, read:].flip(1)
        one, two = (take(context_of(model, each), each) for each in (order, other))
        torch.testing.assert_close(one[:, :read], two[:, :read], rtol=0, atol=1e-12)
        assert (one[:, read] - two[:, read]).abs().amax(1).min() > 1e-6


def test_the_content_stream_is_that_of_a_causal_model_in_that_order() -> None:
    encoder = model_of("two_stream").encoder
    patches, grid = encoder.patches(images())
    at = model_of("two_stream").draw_orders(range(2), 0, progress=0)["order"]
    content = encoder.embed(take(patches, at)[:, :-1], grid, at[:, :-1])
    both = encoder.trunk(
        torch.cat([content, torch.randn(2, 12, 32).double()], 1),
        grid,
        at=torch.cat([at[:, :-1], at], 1),
        streams=True,
    )
    alone = encoder.trunk(content, grid, at=at[:, :-1], causal=True)
    torch.testing.assert_close(both[:, :12], alone, rtol=0, atol=1e-12)


@every_kind
def test_features_are_the_content_s_without_mask(kind: str) -> None:
    model, plain = model_of(kind), small("mse", order="spiral", causal=False)
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "reader" not in name})
    assert torch.equal(model.forward_features(images()), plain.forward_features(images()))


def test_features_are_those_of_darl_s_timm_model() -> None:
    """Nothing of the random orders is left in an encoder of timm's."""
    own = {"image_size": 8, "patch_size": 4, "channels": 1, "objective": "mse", "random_order": "two_stream"}
    model = darl.create_model("nano", **own)
    encoder = timm.create_model("darl_nano_patch16_224", img_size=8, patch_size=4, in_chans=1, num_classes=0)
    encoder.load_state_dict(model.state_dict())
    pixels = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(encoder.forward_features(pixels), model.forward_features(pixels))


@every_kind
def test_the_weights_know_no_order(kind: str) -> None:
    """Whatever the fixed order, an image is read alike in the same drawn one: a model can draw in any."""
    model, other = model_of(kind, position="learned"), model_of(kind, position="learned", order="raster")
    other.load_state_dict(model.state_dict())
    order = model.draw_orders(range(2), 0, progress=0)["order"]
    one, two = context_of(model, order), context_of(other, model.order[order])
    torch.testing.assert_close(one[:, inverse(model.order)], two, rtol=0, atol=1e-12)


@every_kind
@pytest.mark.parametrize("given", [0, 5])
def test_images_are_drawn_in_the_fixed_order(kind: str, given: int) -> None:
    """What MSE draws is what it predicts from what it has drawn before."""
    model = model_of(kind)
    prefix = model.encoder.patches(images())[0][:, :given]
    patches, _ = model.encoder.patches(model.generate(2, prefix=prefix))
    assert torch.equal(patches[:, :given], prefix)
    clean, estimate = model.denoiser(unpatchify(patches[:, inverse(model.order)], model.encoder.grid, 2))
    predicted = estimate(torch.zeros_like(clean), torch.zeros(2, 12))
    torch.testing.assert_close(patches[:, given:], predicted[:, given:].double(), rtol=0, atol=1e-5)


@every_kind
def test_no_tensor_of_tokens_by_tokens_is_kept(kind: str) -> None:
    assert square_tensors("mse", random_order=kind) == []


@every_kind
@pytest.mark.parametrize("size", [SMALL, replace(SMALL, depth=3, swiglu=True)], ids=["plain", "swiglu"])
def test_operations_are_those_that_torch_counts(kind: str, size: EncoderConfig) -> None:
    model = Darl(replace(small("diffusion", random_order=kind).config, size=size))
    assert counted_operations(model, images().float(), model.draw(range(2), 0)) == 2 * model.flops()
    fixed = replace(model.config, random_order=None, causal=True).trunk_flops(11)
    ratio = model.config.random_order.trunk_flops(model.config) / fixed
    assert 1.95 < ratio < 2.15 if kind != "target_aware" else ratio == 1


@every_kind
def test_context_noise_is_on_what_is_read(kind: str) -> None:
    model = model_of(kind, context_noise=0.5, image_size=(4, 6))
    draws = draws_of(model)
    patches, _ = model.encoder.patches(six())
    noisy = take(patches, draws["order"])
    noisy[:, :-1] += draws["context_noise"]
    z = reference_random_context(model, take(noisy, draws["order"].argsort(1)), draws["order"])
    expected, _ = model.decoder.loss(z, patches, {})
    torch.testing.assert_close(model(six(), draws)["loss"], expected, rtol=0, atol=1e-10)


def test_gradient_checkpoints_change_nothing() -> None:
    model = model_of("two_stream")
    draws = draws_of(model)
    gradients = []
    for model.encoder.grad_checkpointing in (False, True):
        model.zero_grad()
        model.train()(images(), draws)["loss"].backward()
        gradients.append(model.encoder.patch_embed.proj.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)


def test_orders_are_drawn_evenly_and_each_image_has_its_own() -> None:
    order = TwoStream().draw(6, 0.9)(6000, torch.Generator().manual_seed(0))
    assert torch.equal(order.sort(1).values, torch.arange(6).expand(6000, -1))
    for place in range(6):
        counts = order[:, place].bincount(minlength=6)
        assert counts.min() > 880  # 1000 are expected, 29 is a deviation
        assert counts.max() < 1120


def test_the_share_of_random_orders_falls_linearly() -> None:
    annealed = TargetAware(random_until=0.5, fixed_from=0.75)
    assert [annealed.share(at) for at in (0, 0.5, 0.75, 1)] == [1, 1, 0, 0]
    assert annealed.share(0.6) == pytest.approx(0.6)
    assert [TwoStream().share(at) for at in (0, 0.5, 1)] == [1, 1, 1]
    assert [PositionInstruction(random_until=0.5).share(at) for at in (0.5, 0.75, 1)] == [1, 0.5, 0]
    step = TwoStream(random_until=0.3, fixed_from=0.3)
    assert [step.share(at) for at in (0.3, 0.31)] == [1, 0]
    fixed = torch.arange(12)
    for progress, expected in ((0.0, 1.0), (0.6, 0.6), (0.9, 0.0)):
        drawn = annealed.draw(12, progress)(4000, torch.Generator().manual_seed(0))
        random = (drawn != fixed).any(1).float().mean().item()
        assert random == pytest.approx(expected, abs=0.025)


def test_an_image_keeps_its_order_while_the_share_falls() -> None:
    """A row's order depends on the share only in whether it is the fixed one."""
    model = model_of(TargetAware(random_until=0.0))
    early, late = (model.draw(range(64), 3, 7, progress=at)["order"] for at in (0.2, 0.7))
    is_fixed = (late == torch.arange(12)).all(1)
    assert torch.equal(early[~is_fixed], late[~is_fixed])
    assert 0.5 < is_fixed.float().mean() < 0.9


def test_settings_that_do_not_fit_are_refused_in_one_line() -> None:
    for options, message in (
        ({"causal": True}, "causal must be false for random_order two_stream, whose features are read without mask, "),
        ({"attention": "prefix"}, "attention must be left out for random_order two_stream, got 'prefix'"),
        ({"position": "absent"}, "position must be another for random_order two_stream, which tells by it what comes"),
        ({"random_order": "three_stream"}, "random_order must be one of two_stream, position_instruction, "),
        ({"random_order": "two_stream:2"}, r"random_order.random_until must be in \[0, 1\], got 2.0"),
        ({"random_order": "two_stream:0.5,0.2"}, r"random_order.fixed_from must be in \[random_until, 1\], here \[0.5"),
    ):
        with pytest.raises(UserError, match=f"^{message}"):
            small("mse", **{"random_order": "two_stream", **options})
    with pytest.raises(UserError, match=r"^random_order must be left out for objective nepa, got 'two_stream'$"):
        small("nepa", random_order="two_stream")


def test_a_record_has_it_only_where_it_is_given() -> None:
    assert "random_order" not in Experiment().to_record()
    own = Experiment(random_order=TargetAware(random_until=0.5, fixed_from=0.75), causal=False)
    assert own.to_record()["random_order"] == {"kind": "target_aware", "random_until": 0.5, "fixed_from": 0.75}
    assert Experiment.from_record(own.to_record()) == own
    assert own.trial_id != Experiment(causal=False).trial_id
    assert own.changed({"random_order": None}) == Experiment(causal=False)


def test_models_that_predict_otherwise_are_told_apart() -> None:
    """Two streams and position instructions have weights of equal names and, at the beginning, equal values."""
    one, two = (model_of(kind, order=Order.parse("raster")) for kind in ("two_stream", "position_instruction"))
    assert one.state_dict().keys() == two.state_dict().keys()
    assert model_key(one, encoder_alone=False) != model_key(two, encoder_alone=False)


def test_validation_losses_are_those_of_the_orders_at_the_end(digits: Dataset) -> None:
    size = EncoderConfig(width=16, depth=1, heads=2, patch_size=2)
    own = [Experiment(model=size, causal=False, random_order=TargetAware(random_until=r)) for r in (1.0, 0.0)]
    values = [Protocols((DenoisingProtocol(),))(one.build(), digits, torch.device("cpu"))["val_loss"] for one in own]
    model, fixed = (each.build() for each in own)
    assert values[0] != values[1]
    pixels = torch.randn(3, 1, 8, 8)
    orders = model.draw_orders(range(3), "validation")
    assert not torch.equal(orders["order"], torch.arange(16).expand(3, -1))
    assert torch.equal(fixed.draw_orders(range(3), "validation")["order"], torch.arange(16).expand(3, -1))
    noisy, gamma = torch.zeros(3, 16, 4), torch.zeros(3, 16)
    with torch.no_grad():
        random, given = (model.denoiser(pixels, draws).estimate(noisy, gamma) for draws in (orders, {}))
    assert (random - given).abs().max() > 1e-4
