"""timm's arguments are used, or refused in one line."""

from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_data_config
from torch import Tensor

from darl.errors import UserError
from darl.model.timm_encoder import TimmEncoder


def encoder(**options: Any) -> TimmEncoder:
    options = {"img_size": 32, "patch_size": 8, "num_classes": 3, **options}
    return timm.create_model("darl_nano_patch16_224", **options)


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rate", ["drop_rate", "proj_drop_rate", "attn_drop_rate", "patch_drop_rate", "drop_path_rate"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "unfused"])
def test_a_rate_acts_in_training_only(rate: str, fused: bool) -> None:
    timm.layers.set_fused_attn(fused)
    try:
        model, plain = encoder(**{rate: 0.5}), encoder()
    finally:
        timm.layers.set_fused_attn(True)
    plain.load_state_dict(model.state_dict())
    x = images()
    torch.testing.assert_close(model.eval()(x), plain.eval()(x))
    model.train()
    torch.manual_seed(0)
    first, second = model(x), model(x)
    assert not torch.equal(first, second)
    torch.testing.assert_close(plain.train()(x), plain.eval()(x))
    model.set_grad_checkpointing()
    torch.manual_seed(0)
    torch.testing.assert_close(model(x), first)


@pytest.mark.parametrize("rate", ["drop_rate", "proj_drop_rate", "attn_drop_rate", "patch_drop_rate", "drop_path_rate"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_rate_outside_of_zero_to_one_is_refused(rate: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^{rate} must be in \[0, 1\), got {value}$"):
        encoder(**{rate: value})


@pytest.mark.parametrize("position", ["rope2d", "learned", "sincos2d"])
@pytest.mark.parametrize("size", [32, 64])
def test_the_patches_that_are_kept_have_the_features_of_reading_them_alone(position: str, size: int) -> None:
    model = encoder(position=position, order="spiral", causal=True, patch_drop_rate=0.7).train()
    torch.manual_seed(0)
    features = model.forward_features(images(size))
    count = (size // 8) ** 2
    kept = int(count * 0.3)
    assert features.shape == (2, kept, 64)
    torch.manual_seed(0)
    at = torch.rand(2, count).argsort(1)[:, :kept].sort(1)[0]
    patches, grid = model.patches(images(size))
    tokens = model.embed(patches.gather(1, at.unsqueeze(-1).expand(-1, -1, patches.shape[-1])), grid, at)
    read = model.trunk(tokens, grid, at=at)[:, 1:]
    raster = model._order(grid)[at]
    for image in range(2):
        torch.testing.assert_close(features[image], read[image][raster[image].argsort()])


def test_patches_are_not_dropped_where_the_last_one_is_read() -> None:
    message = (
        "^patch_drop_rate must be 0 for global_pool token, which reads the last patch: it may be left out, got 0.5$"
    )
    with pytest.raises(UserError, match=message):
        encoder(patch_drop_rate=0.5, global_pool="token")
    model = encoder(patch_drop_rate=0.5)
    with pytest.raises(UserError, match=message):
        model.reset_classifier(3, "token")
    assert model.global_pool == "avg"


def test_device_and_type_are_those_asked_for() -> None:
    model = encoder(dtype=torch.bfloat16, position="learned")
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    model.reset_classifier(5)
    assert model(images().bfloat16()).dtype == torch.bfloat16
    empty = encoder(device="meta")
    assert {value.device.type for value in [*empty.parameters(), *empty.buffers()]} == {"meta"}
    assert empty(images().to("meta")).shape == (2, 3)
    with pytest.raises(UserError, match=r"^dtype must be a floating-point type, got torch.int64$"):
        encoder(dtype=torch.int64)


def test_a_fixed_image_size_is_held() -> None:
    model = encoder(dynamic_img_size=False)
    assert model(images()).shape == (2, 3)
    for use in (model, model.forward_intermediates):
        with pytest.raises(
            UserError, match=r"^images must be \(32, 32\) pixels, since dynamic_img_size is False, got \(64, 64\)$"
        ):
            use(images(64))
    model.set_input_size((64, 64))
    assert model(images(64)).shape == (2, 3)
    assert encoder(dynamic_img_size=True)(images(64)).shape == (2, 3)
    assert resolve_data_config(model=encoder())["input_size"][0] == 3


def test_sizes_are_numbers_or_pairs() -> None:
    model = encoder(img_size=(32, 48), patch_size=(8, 8))
    assert model.grid == (4, 6)
    with pytest.raises(UserError, match=r"^patch_size must be square, got \(8, 16\)$"):
        encoder(patch_size=(8, 16))


def test_the_blocks_have_the_parts_asked_for() -> None:
    plain, parts = encoder(), encoder(qk_norm=True, init_values=0.1, swiglu_mlp=True)
    added = {name for name, _ in parts.blocks[0].named_parameters()} - {
        n for n, _ in plain.blocks[0].named_parameters()
    }
    norms = {f"attn.{part}_norm.{name}" for part in "qk" for name in ("weight", "bias")}
    gates = {f"mlp.fc1_{part}.{name}" for part in "gx" for name in ("weight", "bias")}
    assert added == norms | gates | {"ls1.gamma", "ls2.gamma"}
    assert set(parts.blocks[1].ls2.gamma.tolist()) == {torch.tensor(0.1).item()}
    own = encoder(qk_norm=False, init_values=None)
    assert {name for name, _ in own.named_parameters()} == {name for name, _ in plain.named_parameters()}
    with pytest.raises(UserError, match=r"^model\.init_values must be positive, or none, got 0$"):
        encoder(init_values=0)
