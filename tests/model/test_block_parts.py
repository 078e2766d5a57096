"""QK-norm, LayerScale and SwiGLU: held to the slow reference, off by default, and not in the record where off."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import SwiGLU

import darl
from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.initial_weights import initialize
from tests.model.counted_operations import counted_operations
from tests.model.reference_model import reference_context
from tests.model.small_models import SMALL, context, images

PARTS: list[dict[str, Any]] = [
    {"qk_norm": True}, {"init_values": 0.5}, {"swiglu": True}, {"qk_norm": True, "init_values": 1e-5, "swiglu": True},
]  # fmt: skip
every_part = pytest.mark.parametrize("parts", PARTS, ids=lambda parts: ",".join(parts))


def model_with(parts: dict[str, Any], **options: Any) -> Darl:
    """In float64, every weight moved away from where it starts."""
    size = replace(SMALL, **parts)
    model = darl.create_model(size, image_size=(6, 8), channels=2, objective="mse", order="spiral", **options).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
    return model


@every_part
@pytest.mark.parametrize("position", ["rope2d", "learned"])
def test_the_blocks_give_the_reference_s_outputs(parts: dict[str, Any], position: str) -> None:
    model = model_with(parts, position=position)
    patches, _ = model.encoder.patches(images())
    torch.testing.assert_close(context(model, patches), reference_context(model, patches), rtol=0, atol=1e-10)
    plain = model_with({}, position=position)
    assert (context(model, patches) - context(plain, patches)).abs().max() > 1e-3


@every_part
def test_patch_by_patch_outputs_are_those_of_the_whole(parts: dict[str, Any]) -> None:
    model = model_with(parts)
    patches, _ = model.encoder.patches(images())
    cache = model.encoder.new_cache()
    for index, expected in enumerate(context(model, patches).split(1, dim=1)):
        before = patches[:, index - 1] if index else None
        torch.testing.assert_close(model.encoder.next_output(before, index, 2, cache), expected, rtol=0, atol=1e-10)


@every_part
def test_operations_are_those_that_torch_counts(parts: dict[str, Any]) -> None:
    model = model_with(parts)
    assert counted_operations(model, images()) == pytest.approx(2 * model.flops(), rel=1e-12)


def test_swiglu_has_as_many_weights_as_the_mlp_that_it_replaces() -> None:
    def weights(size: EncoderConfig) -> int:
        model = darl.create_model(size, image_size=8, patch_size=4)
        assert isinstance(model.encoder.blocks[0].mlp, SwiGLU) == bool(size.swiglu)
        return sum(value.numel() for value in model.encoder.blocks.parameters())

    own, gated = (weights(EncoderConfig(width=192, depth=1, swiglu=swiglu)) for swiglu in (None, True))
    assert 0.99 < gated / own < 1.01


def test_layer_scale_starts_at_its_value_and_is_not_decayed() -> None:
    model = darl.create_model(replace(SMALL, init_values=0.1), image_size=8)
    initialize(model, 3)
    scales = [value for name, value in model.named_parameters() if name.endswith("gamma")]
    assert len(scales) == 2 * SMALL.depth
    for scale in scales:
        assert scale.ndim == 1
        torch.testing.assert_close(scale, torch.full_like(scale, 0.1), rtol=0, atol=0)


def test_ids_of_trials_without_them_stay_as_they_were() -> None:
    """The id is the default experiment's from before these options existed."""
    assert Experiment().trial_id == "61172bd5f6fb"
    off = Experiment().changed({"model.qk_norm": "false", "model.swiglu": "false", "model.init_values": "none"})
    assert off == Experiment()
    assert not {"qk_norm", "swiglu", "init_values"} & off.to_record()["model"].keys()


@given(st.sampled_from([None, False, True]), st.sampled_from([None, 1e-5, 1]), st.sampled_from([None, False, True]))
def test_a_record_gives_the_experiment_back(qk_norm: bool | None, scale: float | None, swiglu: bool | None) -> None:
    size = EncoderConfig(patch_size=2, heads=3, qk_norm=qk_norm, init_values=scale, swiglu=swiglu)
    own = Experiment(model=size)
    assert Experiment.from_record(own.to_record()) == own
    assert (own.trial_id == Experiment(model=replace(size, qk_norm=None)).trial_id) == (not qk_norm)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_is_positive(scale: float) -> None:
    with pytest.raises(UserError, match=r"^model\.init_values must be positive, or none, got"):
        EncoderConfig(init_values=scale)
