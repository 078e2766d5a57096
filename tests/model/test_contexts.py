"""No model is changed by what other models were made or called in: nothing but numbers is shared between them."""

import copy
import io
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import darl
from darl.model.encoder_config import EncoderConfig

POSITIONS = ["rope2d", "rope1d", "learned", "sincos2d", "absent"]
CONTEXTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}
every_context = pytest.mark.parametrize("context", CONTEXTS)
every_position = pytest.mark.parametrize("position", POSITIONS)


def encoder(position: str = "rope2d", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 8, "num_classes": 3, "order": "hilbert", "causal": True, **options}
    return timm.create_model("darl_nano_patch16_224", position=position, **options)


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def results(model: nn.Module) -> list[Tensor]:
    """Outputs at two image sizes, and the gradients of one parameter."""
    outputs = [model(images(size)) for size in (32, 48)]
    model.zero_grad()
    sum(output.square().sum() for output in outputs).backward()  # type: ignore[union-attr]
    return [*(output.detach() for output in outputs), model.patch_embed.proj.weight.grad]  # type: ignore[list-item]


@every_context
@every_position
def test_models_made_and_called_before_in_another_context_change_nothing(context: str, position: str) -> None:
    expected = results(encoder(position))
    size = 32 + 8 * (1 + 5 * list(CONTEXTS).index(context) + POSITIONS.index(position))  # a grid of this test alone
    with CONTEXTS[context]():
        other = encoder(position, img_size=size)
        for pixels in (size, 32, 48):
            other(torch.randn(1, 3, pixels, pixels))
        darl.create_model("nano", image_size=size, patch_size=8, position=position, order="hilbert")
    torch.testing.assert_close(results(encoder(position)), expected, rtol=0, atol=0)
    model = encoder(position)
    model(images(size)).sum().backward()


@every_position
def test_a_model_called_in_inference_mode_can_be_trained(position: str) -> None:
    model = encoder(position)
    with torch.inference_mode():
        model(images(80))
    model(images(80)).sum().backward()


@every_position
def test_an_export_leaves_no_tensors_of_its_own_behind(position: str) -> None:
    short = EncoderConfig(width=32, depth=1, heads=2)  # the exporter takes its time for each block
    model, other = encoder(position, size=short).eval(), encoder(position, size=short)
    torch.export.export(model, (images(56),))
    torch.export.export(model, (images(32),))
    for left in (model, other):
        left(images(56)).sum().backward()


@every_position
@pytest.mark.parametrize("assign", [False, True])
def test_a_model_made_without_storage_takes_weights(position: str, assign: bool) -> None:
    expected = encoder(position)
    with torch.device("meta"):
        model = encoder(position)
    if not assign:
        model.to_empty(device="cpu")
        for buffer in model.buffers():
            buffer.fill_(-1)  # undefined content
    model.load_state_dict(expected.state_dict(), assign=assign)
    torch.testing.assert_close(results(model), results(expected), rtol=0, atol=0)


def test_weights_that_are_loaded_in_inference_mode_leave_the_model_trainable() -> None:
    expected, model = encoder(), encoder(dtype=torch.float64).float()
    with torch.inference_mode():
        model.double().load_state_dict(expected.state_dict())
    assert not any(buffer.is_inference() for buffer in model.buffers())


def test_pretraining_takes_weights_likewise() -> None:
    def model() -> nn.Module:
        return darl.create_model("nano", image_size=32, patch_size=8, order="spiral")

    expected = model()
    with torch.device("meta"):
        empty = model()
    empty.to_empty(device="cpu").load_state_dict(expected.state_dict())
    torch.testing.assert_close(empty(images(), seed=1)["loss"], expected(images(), seed=1)["loss"], rtol=0, atol=0)


def test_initialising_again_builds_the_tables() -> None:
    model = encoder()
    order, rotation = model.order.clone(), model.rotation.clone()  # type: ignore[union-attr, operator]
    model.to_empty(device="cpu")
    for buffer in model.buffers():
        buffer.fill_(-1)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert torch.equal(model.order, order)
    assert torch.equal(model.rotation, rotation)


def pickled(model: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(model))


def saved(model: nn.Module) -> nn.Module:
    stream = io.BytesIO()
    torch.save(model, stream)
    return torch.load(io.BytesIO(stream.getvalue()), weights_only=False)


@every_position
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
def test_a_copy_is_apart_from_the_model(position: str, copied: Callable[[nn.Module], nn.Module]) -> None:
    model = encoder(position)
    expected = results(model)
    other = copied(model)
    torch.testing.assert_close(results(other), expected, rtol=0, atol=0)
    assert all(block.reading is other.reading for block in other.blocks)  # type: ignore[union-attr]
    other.load_state_dict(model.state_dict())
    other.double().set_input_size(64)  # type: ignore[operator]
    other.causal = False
    assert other(images(64).double()).dtype == torch.float64
    torch.testing.assert_close(results(model), expected, rtol=0, atol=0)


@every_position
def test_another_default_type_changes_no_later_model(position: str) -> None:
    expected = results(encoder(position))
    torch.set_default_dtype(torch.float64)
    try:
        assert encoder(position)(images(48).double()).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(results(encoder(position)), expected, rtol=0, atol=0)
