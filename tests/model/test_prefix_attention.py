"""Prefix attention: held to a slow reference; no output that counts in the loss has seen its own or a later target."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from timm.layers import set_fused_attn
from torch import Tensor

import darl
from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.config import ModelConfig
from darl.model.darl import Darl
from darl.model.orders import inverse
from darl.model.patches import unpatchify
from darl.model.prefix_attention import flexible, prefix_attention, two_calls
from tests.model.counted_operations import counted_operations
from tests.model.saved_memory import TOKENS, square_tensors
from tests.model.small_models import images, small

PREFIXES = [1, 2, 7, 12]
"""Of four images with 12 tokens."""
IN_ORDER = ["mse", "diffusion", "nepa"]


def reference(q: Tensor, k: Tensor, v: Tensor, prefix: Tensor) -> Tensor:
    """One image, head and token at a time."""
    out = torch.empty_like(v)
    for image, head, i in torch.cartesian_prod(*map(torch.arange, q.shape[:3])).tolist():
        read = [j for j in range(q.shape[2]) if j <= i or j < int(prefix[image])]
        scores = torch.stack([q[image, head, i] @ k[image, head, j] for j in read]) / math.sqrt(q.shape[3])
        out[image, head, i] = (scores.exp() / scores.exp().sum()) @ v[image, head, read]
    return out


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_flex_attention_gives_the_reference_s_outputs() -> None:
    """Gradients are for a GPU: on a CPU it has none."""
    qkv = torch.randn(3, 4, 2, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs = [one(*qkv.unbind(0), torch.tensor(PREFIXES)) for one in (flexible, reference)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("attend", [two_calls, prefix_attention], ids=lambda one: one.__name__)
def test_outputs_and_gradients_are_the_reference_s(attend: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 4, 2, 12, 16, dtype=torch.float64, generator=generator).requires_grad_()
    upstream = torch.randn(4, 2, 12, 16, dtype=torch.float64, generator=generator)
    results = [one(*qkv.unbind(0), torch.tensor(PREFIXES)) for one in (attend, reference)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(result, qkv, upstream)[0] for result in results]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_gpu_s_kernel_gives_what_two_calls_give(dtype: torch.dtype) -> None:
    qkv = torch.randn(3, 4, 2, 197, 64, device="cuda", dtype=dtype).requires_grad_()
    prefix = torch.tensor([1, 50, 129, 197], device="cuda")
    results = [one(*qkv.unbind(0), prefix) for one in (prefix_attention, two_calls)]
    gradients = [torch.autograd.grad(result.float().square().sum(), qkv)[0] for result in results]
    within = {"rtol": 0, "atol": 1e-2 if dtype == torch.float32 else 5e-2}  # TF32 and bfloat16
    torch.testing.assert_close(results[0], results[1], **within)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=10 * within["atol"])


def model_of(objective: str, position: str = "rope2d") -> Darl:
    return small(objective, order="spiral", position=position, attention="prefix")


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "unfused"])
def test_the_trunk_reads_as_with_the_mask_written_out(fused: bool) -> None:
    set_fused_attn(fused)
    try:
        encoder = model_of("mse").encoder
    finally:
        set_fused_attn(True)
    patches, grid = encoder.patches(images(4))
    tokens, prefix = encoder.embed(patches[:, :-1], grid), torch.tensor(PREFIXES)
    mask = torch.ones(4, 1, 12, 12).tril().bool()
    for image, length in enumerate(PREFIXES):
        mask[image, :, :, :length] = True
    output = encoder.trunk(tokens, grid, prefix=prefix)
    torch.testing.assert_close(output, encoder.trunk(tokens, grid, mask=mask), rtol=0, atol=1e-10)
    for image, causal in ((0, True), (3, False)):
        expected = encoder.trunk(tokens, grid, causal=causal)[image]
        torch.testing.assert_close(output[image], expected, rtol=0, atol=1e-10)
    encoder.grad_checkpointing = True
    torch.testing.assert_close(encoder.train().trunk(tokens, grid, prefix=prefix), output, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_no_tensor_of_tokens_by_tokens_is_kept(objective: str) -> None:
    assert TOKENS == 256
    assert square_tensors(objective, attention="prefix") == []


def draws_of(model: Darl, prefix: int) -> dict[str, Tensor]:
    draws = {**model.draw(range(2), 0), "prefix": torch.full((2,), prefix)}
    if "gamma" in draws:  # so that a patch's noisy version says nothing of the patch
        draws["gamma"] = torch.zeros_like(draws["gamma"])
    return draws


@pytest.mark.parametrize("objective", IN_ORDER)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_output_that_counts_has_seen_its_own_or_a_later_target(objective: str, prefix: int) -> None:
    model = model_of(objective)
    draws = draws_of(model, prefix)
    before = model(images(), draws)["prediction"]
    for index in range(12):
        patches, _ = model.encoder.patches(images())
        patches[:, index] += 1
        changed = unpatchify(patches[:, inverse(model.order)], model.encoder.grid, 2)
        moved = (model(changed, draws)["prediction"] - before).abs().amax((0, 2)) > 1e-9
        within = index < prefix - 1  # the prefix's tokens are the start token and these patches
        first = 0 if within else index + 1
        assert moved.nonzero().flatten().tolist() == list(range(first, 12))
        assert first <= index or not moved[: index + 1].any()
        counts = range(prefix - 1, 12)
        assert not any(bool(moved[t]) for t in counts if t <= index)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_loss_is_that_of_the_patches_after_the_prefix(prefix: int) -> None:
    model = model_of("mse")
    patches, _ = model.encoder.patches(images())
    out = model(images(), draws_of(model, prefix))
    errors = (out["prediction"] - patches).square().mean((0, 2))
    assert out["loss"].item() == pytest.approx(errors[prefix - 1 :].sum().item() / 6.5, abs=1e-12)


def test_every_length_of_prefix_is_drawn() -> None:
    model = model_of("mse")
    drawn = model.draw(range(2400), 0)["prefix"]
    assert drawn.unique().tolist() == list(range(1, 13))
    assert drawn.bincount()[1:].min() > 130  # 200 are expected, 14 is a deviation
    assert drawn.float().mean().item() == pytest.approx(6.5, abs=0.3)


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_patches_are_estimated_and_drawn_causally_and_features_are_read_without_mask(objective: str) -> None:
    model = model_of(objective)
    causal, full = (small(objective, order="spiral", causal=causal) for causal in (True, False))
    for other in (causal, full):
        other.load_state_dict(model.state_dict())
    noisy, gamma = torch.zeros(2, 12, 8).double(), torch.zeros(2, 12).double()
    estimates = [one.denoiser(images()).estimate(noisy, gamma) for one in (model, causal)]
    torch.testing.assert_close(estimates[0], estimates[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(model.generate(2, steps=1), causal.generate(2, steps=1), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.forward_features(images()), full.forward_features(images()), rtol=0, atol=1e-12)
    assert (model.forward_features(images()) - causal.forward_features(images())).abs().max() > 1e-6
    with pytest.raises(UserError, match=r"^causal must be true for generation, got False$"):
        full.generate(1)


@pytest.mark.parametrize("objective", IN_ORDER)
def test_operations_are_counted_once(objective: str) -> None:
    """As many as causally; the second call, which a GPU does not need, doubles the attention's."""
    model, causal = model_of(objective), small(objective, order="spiral")
    assert model.flops() == causal.flops()
    attention = 2 * 4 * 12**2 * 32  # of 2 blocks
    assert counted_operations(model, images(), model.draw(range(2), 0)) == 2 * (model.flops() + attention)


@pytest.mark.parametrize("objective", ["mae", "masked", "supervised"])
def test_an_objective_without_an_order_is_refused(objective: str) -> None:
    message = rf"^attention must be left out for objective {objective}, got 'prefix'$"
    with pytest.raises(UserError, match=message):
        small(objective, attention="prefix", classes=3)


def test_words_for_attention_and_the_mask_agree() -> None:
    for word, causal, attention in (("causal", True, None), ("full", False, None), ("prefix", False, "prefix")):
        config: ModelConfig = small("mse", attention=word).config
        assert (config.causal, config.attention) == (causal, attention)
    with pytest.raises(UserError, match=r"^attention must be one of causal, prefix, full, got 'half'$"):
        small("mse", attention="half")
    with pytest.raises(UserError, match=r"^causal must be false, or left out, for attention prefix, got True$"):
        small("mse", attention="prefix", causal=True)
    with pytest.raises(UserError, match=r"^causal must be false for attention prefix, whose .*, got True$"):
        replace(small("mse").config, attention="prefix")
    with pytest.raises(UserError, match=r"^attention must be prefix, or left out, got 'causal'$"):
        replace(small("mse").config, attention="causal")


def test_a_record_has_it_only_where_it_is_given() -> None:
    assert "attention" not in Experiment().to_record()
    own = Experiment(attention="prefix", causal=False)
    assert own.to_record()["attention"] == "prefix"
    assert Experiment.from_record(own.to_record()) == own
    assert own.trial_id != Experiment(causal=False).trial_id
    assert own.build().encoder.reads_prefix


def test_features_are_those_of_darl_s_timm_model() -> None:
    """Nothing of the prefix is left in an exported encoder: it reads without mask."""
    model = darl.create_model("nano", image_size=8, patch_size=4, channels=1, objective="mse", attention="prefix")
    import timm

    encoder = timm.create_model("darl_nano_patch16_224", img_size=8, patch_size=4, in_chans=1, num_classes=0)
    encoder.load_state_dict(model.state_dict())
    pixels = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(encoder.forward_features(pixels), model.forward_features(pixels))
