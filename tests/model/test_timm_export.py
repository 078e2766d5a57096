"""The encoders in other hands: exported, traced, scripted, and read by timm's and torchvision's extractors."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import set_fused_attn
from timm.utils import AttentionExtract
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from darl.errors import UserError
from darl.model.encoder_config import EncoderConfig
from darl.model.timm_encoder import TimmEncoder

KINDS: list[dict[str, Any]] = [
    {},
    {"position": "learned", "order": "hilbert", "causal": True, "global_pool": "token"},
    {"position": "sincos2d", "order": "snake"},
    {"position": "rope1d", "causal": True, "global_pool": ""},
    {"position": "absent", "order": "random", "qk_norm": True, "init_values": 0.5, "swiglu_mlp": True},
]
NAMES = [kind.get("position", "default") for kind in KINDS]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=NAMES)
exported_by_onnx = pytest.mark.parametrize(  # seconds each, whatever the size
    "kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])], ids=NAMES
)
SHORT = EncoderConfig(width=32, depth=2, heads=2)
"""For exporters, which take their time for each block."""
scripts = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")


def encoder(**options: Any) -> TimmEncoder:
    options = {"img_size": 32, "patch_size": 8, "num_classes": 3, **options}
    return timm.create_model("darl_nano_patch16_224", **options).eval()


def images(count: int = 2, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))


@scripts
@every_kind
def test_a_scripted_model_is_saved_and_read_again(kind: dict[str, Any], tmp_path: Path) -> None:
    model = encoder(**kind)
    torch.jit.save(torch.jit.script(model), tmp_path / "model.pt")
    again = torch.jit.load(tmp_path / "model.pt")
    torch.testing.assert_close(again(images(5)), model(images(5)))
    with pytest.raises(torch.jit.Error, match=r"images must be 32 x 32 pixels .* got 64 x 64"):
        again(images(1, 64))


@scripts
def test_scripted_in_training_it_drops_patches_and_paths() -> None:
    rates = ("drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")
    model = encoder(**dict.fromkeys(rates, 0.5)).train()
    for other in (torch.jit.script(model), torch.fx.symbolic_trace(model)):
        torch.manual_seed(0)
        expected = model(images())
        torch.manual_seed(0)
        torch.testing.assert_close(other(images()), expected)


@every_kind
def test_exported_with_a_dynamic_batch(kind: dict[str, Any]) -> None:
    model = encoder(size=SHORT, **kind)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(model, (images(),), dynamic_shapes=({0: batch},)).module()
    for count in (1, 7):
        torch.testing.assert_close(exported(images(count)), model(images(count)), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # the image's size becomes part of the traced module
@scripts
@every_kind
def test_traced_for_another_batch(kind: dict[str, Any]) -> None:
    model = encoder(**kind)
    traced = torch.jit.trace(model, images())
    for count in (1, 7):
        torch.testing.assert_close(traced(images(count)), model(images(count)))


@pytest.mark.filterwarnings("ignore")  # of the exporter's own
@exported_by_onnx
def test_onnx_with_a_dynamic_batch(kind: dict[str, Any], tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install -e '.[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[onnx]'")
    model, file = encoder(size=SHORT, **kind), str(tmp_path / "model.onnx")
    batch = torch.export.Dim("batch")
    torch.onnx.export(model, (images(),), file, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    session = onnxruntime.InferenceSession(file)
    for count in (1, 7):
        (output,) = session.run(None, {session.get_inputs()[0].name: images(count).numpy()})
        torch.testing.assert_close(torch.from_numpy(output), model(images(count)).detach(), rtol=1e-4, atol=1e-5)


@every_kind
def test_blocks_alone_read_as_the_model_does(kind: dict[str, Any]) -> None:
    model = encoder(**kind)
    patches, grid = model.patches(images())
    x = torch.cat([model.start_token.expand(2, -1, -1), model.embed(patches, grid)], dim=1)
    for block in model.blocks:
        x = block(x)
    torch.testing.assert_close(model.raster(model.norm(x), grid), model.forward_features(images()), rtol=0, atol=0)


def test_intermediate_layers_are_those_of_forward_intermediates() -> None:
    model = encoder()
    last, listed = model.get_intermediate_layers(images(), n=2), model.get_intermediate_layers(images(), n=[0, 3])
    tokens = model.forward_intermediates(images(), output_fmt="NLC", intermediates_only=True)
    assert [*map(id_of(tokens), last)] == [2, 3]
    assert [*map(id_of(tokens), listed)] == [0, 3]
    (normed,) = model.get_intermediate_layers(images(), reshape=True, norm=True)
    torch.testing.assert_close(normed.flatten(2).transpose(1, 2), model.forward_features(images()))


def id_of(tokens: list[Tensor]) -> Any:
    return lambda x: next(index for index, candidate in enumerate(tokens) if torch.equal(x, candidate))


@every_kind
def test_torchvision_extracts_features(kind: dict[str, Any]) -> None:
    model = encoder(**kind)
    outputs = create_feature_extractor(model, return_nodes={"blocks.1": "middle", "norm": "end"})(images())
    middle = [*model.states(*embedded(model))][1]
    torch.testing.assert_close(outputs["middle"], middle, rtol=0, atol=0)
    torch.testing.assert_close(outputs["end"], model.trunk(*embedded(model)), rtol=0, atol=0)


def embedded(model: TimmEncoder) -> tuple[Tensor, tuple[int, int]]:
    patches, grid = model.patches(images())
    return model.embed(patches, grid), grid


@pytest.fixture
def attending() -> TimmEncoder:
    """A causal encoder with attention weights of its own; timm's switch counts when a model is created."""
    set_fused_attn(False)
    try:
        return encoder(causal=True, num_classes=0)
    finally:
        set_fused_attn(True)


@pytest.mark.parametrize("method", ["fx", "hook"])
def test_timm_extracts_attention(attending: TimmEncoder, method: str) -> None:
    weights = AttentionExtract(attending, method=method)(images())
    assert len(weights) == 4
    for attention in weights.values():
        assert attention.shape == (2, 4, 17, 17)
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 4, 17))
        assert not attention.triu(1).any()


def test_attention_weights_of_its_own_give_the_fused_features(attending: TimmEncoder) -> None:
    fused = encoder(causal=True, num_classes=0)
    fused.load_state_dict(attending.state_dict())
    torch.testing.assert_close(attending(images()), fused(images()))
    tokens, grid = embedded(fused)
    mask = torch.ones(17, 17).tril().bool()
    torch.testing.assert_close(attending.trunk(tokens, grid, mask=mask), fused.trunk(tokens, grid))


@pytest.mark.parametrize("position", ["learned", "rope2d", "sincos2d"])
def test_another_input_size_is_made_the_models_own(position: str) -> None:
    model = encoder(position=position, order="spiral")
    expected = model.forward_features(images(2, 64))
    model.set_input_size(64)
    assert (model.grid, model.patch_embed.img_size) == ((8, 8), (64, 64))
    torch.testing.assert_close(model.forward_features(images(2, 64)), expected)
    assert torch.fx.symbolic_trace(model)(images(2, 64)).shape == (2, 3)
    with pytest.raises(UserError, match=r"^image_size must be a multiple of patch_size 8, got 36"):
        model.set_input_size((36, 36))
    assert model.grid == (8, 8)


def test_an_encoding_of_ones_own_is_traced_but_not_scripted() -> None:
    from darl.model.positions import Encoding

    class Shifted(Encoding):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.ones(16, 64))

        def additive(self, grid: tuple[int, int]) -> Tensor:
            return self.shift * 2

    model = encoder(position="absent")
    plain = model(images())
    model.position, model.keeps_additive = Shifted(), False
    shifted = model(images())
    assert not torch.equal(shifted, plain)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(images()), shifted)
