"""What timm's own tests (its `tests/test_models.py`) check of every ViT, on every name that darl registers.

Sizes above tiny have three of their blocks here, which are all alike, and their own widths, heads and patches. Whole,
they are checked for shapes, on the meta device.

Its other tests do not apply: `test_model_default_cfgs` and `test_model_forward_features` are for feature maps in NCHW
(timm leaves its ViTs out; `features_only` is checked here as for them), `test_model_inference` and those named
`pretrained` need published weights.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from timm.layers import set_scriptable
from timm.models import FeatureInfo, get_notrace_functions, get_notrace_modules
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from darl.model.encoder_config import SIZES

QUICK = ("nano", "tiny")
SIZE_OF = {f"darl_{name}_patch{size.patch_size}_224": name for name, size in SIZES.items()}
NAMES = [pytest.param(name, marks=[] if size in QUICK else pytest.mark.slow, id=size) for name, size in SIZE_OF.items()]
every_name = pytest.mark.parametrize("name", NAMES)
scripts = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")


def create(name: str, **options: Any) -> nn.Module:
    """The model of that name, with three blocks if it is large."""
    if SIZE_OF[name] not in QUICK:
        options["size"] = replace(SIZES[SIZE_OF[name]], depth=3)
    return timm.create_model(name, **options).eval()


def images(model: nn.Module, count: int = 1) -> Tensor:
    return torch.randn(count, *model.default_cfg["input_size"])


def traced(model: nn.Module) -> nn.Module:
    """The model traced by FX as timm traces its own, up to its last node."""
    options = {
        "leaf_modules": get_notrace_modules(),
        "autowrap_functions": get_notrace_functions(),
        "param_shapes_constant": True,
    }
    train, evaluation = get_graph_node_names(model, tracer_kwargs=options)
    return create_feature_extractor(
        model, train_return_nodes=[train[-1]], eval_return_nodes=[evaluation[-1]], tracer_kwargs=options
    )


def only(outputs: dict[str, Tensor]) -> Tensor:
    (output,) = outputs.values()
    return output


def lacking_gradients(model: nn.Module) -> Iterator[str]:
    return (name for name, value in model.named_parameters() if value.grad is None)


@pytest.mark.parametrize("name", SIZE_OF, ids=SIZE_OF.get)
def test_a_whole_model_gives_scores_and_the_feature_maps_of_every_block(name: str) -> None:
    model, size = timm.create_model(name, device="meta"), SIZES[SIZE_OF[name]]
    x, side = images(model).to("meta"), 224 // size.patch_size
    features, maps = model.forward_intermediates(x, output_fmt="NCHW")
    assert model(x).shape == (1, 1000)
    assert features.shape == (1, side**2, size.width)
    assert [tuple(block.shape) for block in maps] == [(1, size.width, side, side)] * size.depth
    matrices = sum(value.numel() for value in model.blocks.parameters() if value.ndim == 2)
    assert matrices == 12 * size.depth * size.width**2


@every_name
def test_forward_and_checkpointed_forward_are_the_same(name: str) -> None:
    model = create(name)
    x = images(model)
    outputs = model(x)
    assert outputs.shape == (1, 1000)
    assert not outputs.isnan().any()
    model.set_grad_checkpointing()
    torch.testing.assert_close(model(x), outputs, rtol=1e-4, atol=1e-5)


@every_name
def test_backward_reaches_every_parameter(name: str) -> None:
    model = create(name, num_classes=42).train()
    outputs = model(images(model, 2))
    outputs.mean().backward()
    assert outputs.shape == (2, 42)
    assert list(lacking_gradients(model)) == []


@every_name
def test_the_configuration_is_true_of_the_model(name: str) -> None:
    model = create(name)
    x, config, state = images(model), model.default_cfg, model.state_dict()
    features = model.forward_features(x)
    readout = model.forward_head(features, pre_logits=True)
    assert (features.shape[-1], readout.shape[1]) == (model.num_features, model.head_hidden_size)
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert model(x).shape == readout.shape
    assert create(name, num_classes=0)(x).shape[-1] == model.num_features
    assert {f"{config['classifier']}.weight", f"{config['first_conv']}.weight"} <= set(state)


@every_name
def test_feature_maps_have_the_announced_shapes(name: str) -> None:
    model = create(name, features_only=True)
    assert len(model.feature_info.channels()) >= 3
    x = images(model)
    announced = zip(model.feature_info.channels(), model.feature_info.reduction(), strict=True)
    expected = [(1, channels, 224 // reduction, 224 // reduction) for channels, reduction in announced]
    assert [tuple(features.shape) for features in model(x)] == expected


@every_name
def test_intermediates_end_in_the_features(name: str) -> None:
    model = create(name)
    info = FeatureInfo(model.feature_info, len(model.feature_info))
    x = images(model)
    output, maps = model.forward_intermediates(x, output_fmt="NCHW")
    assert [features.shape[1] for features in maps] == info.channels()
    assert [features.shape[2] for features in maps] == [224 // reduction for reduction in info.reduction()]
    torch.testing.assert_close(output, model.forward_features(x))
    model.set_grad_checkpointing()
    torch.testing.assert_close(model.forward_intermediates(x)[0], output, rtol=1e-4, atol=1e-5)


@scripts
@every_name
def test_torchscript_compiles_it(name: str) -> None:
    with set_scriptable(True):
        model = create(name)
    x = images(model)
    torch.testing.assert_close(torch.jit.script(model)(x), model(x), rtol=1e-4, atol=1e-5)


@every_name
def test_fx_traces_it_exactly(name: str) -> None:
    model = create(name)
    x = images(model)
    with torch.inference_mode():
        assert torch.equal(only(traced(model)(x)), model(x))


@every_name
def test_fx_traces_it_for_training(name: str) -> None:
    model = create(name, num_classes=42).train()
    x = images(model, 2)
    model = traced(model)
    outputs = only(model.train()(x))
    outputs.mean().backward()
    assert outputs.shape == (2, 42)
    assert list(lacking_gradients(model)) == []


@scripts
@every_name
def test_torchscript_compiles_what_fx_traced(name: str) -> None:
    with set_scriptable(True):
        model = create(name)
    x = images(model)
    torch.testing.assert_close(only(torch.jit.script(traced(model))(x)), model(x), rtol=1e-4, atol=1e-5)
