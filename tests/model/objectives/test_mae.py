"""MAE: the encoder is timm's ViT on the visible patches, and the decoder that of the paper."""

from typing import Any

import pytest
import torch
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import darl
from darl.errors import UserError
from darl.model.darl import Darl
from darl.model.encoder_config import SIZES, EncoderConfig
from darl.model.objectives.mae import Mae, MaeDecoder
from darl.model.objectives.mse import Mse
from darl.model.patches import patchify
from tests.model.counted_operations import counted_operations
from tests.model.small_models import images, small

WIDTH, HEADS, DEPTH = 32, 2, 2
"""Those of `small`."""


def stock(table: Tensor | None = None) -> VisionTransformer:
    """timm's ViT of the size of `small`, in float64; `table`: the patches' rows of its positions."""
    model = VisionTransformer((6, 8), 2, 2, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0)
    with torch.no_grad():
        model.cls_token.normal_()
        model.pos_embed.normal_()
        if table is not None:
            model.pos_embed[:, :1] = 0
            model.pos_embed[:, 1:] = table
    return model.double().eval()


def with_weights_of(vit: VisionTransformer, position: str, **options: object) -> Darl:
    """MAE whose encoder has the ViT's weights; the start token is the class token with its position."""
    model = small("mae", position=position, **options).eval()
    weights = {name: value for name, value in vit.state_dict().items() if name not in ("cls_token", "pos_embed")}
    weights["start_token"] = vit.cls_token + vit.pos_embed[:, :1]
    if position == "learned":
        weights["position.table"] = vit.pos_embed[:, 1:]
    model.encoder.load_state_dict(weights)
    return model


def encoded_by(vit: VisionTransformer, visible: Tensor) -> Tensor:
    """MAE's encoder as the paper has it: patches get positions, the hidden ones are dropped, the class token comes."""
    x = vit.patch_embed(images()) + vit.pos_embed[:, 1:]
    x = torch.stack([x[image, visible[image]] for image in range(len(x))])
    x = torch.cat([(vit.cls_token + vit.pos_embed[:, :1]).expand(len(x), -1, -1), x], dim=1)
    return vit.norm(vit.blocks(x))


def reference(model: Darl, vit: VisionTransformer, visible: list[list[int]]) -> tuple[Tensor, Tensor]:
    """(loss, prediction) of MAE, one image after another; patches in raster order."""
    decoder, every = model.decoder, patchify(images(), 2)
    assert isinstance(decoder, MaeDecoder)
    read, width = encoded_by(vit, torch.tensor(visible)), decoder.embed.out_features
    positions = build_sincos2d_pos_embed([3, 4], dim=width).double()
    losses: list[Tensor] = []
    predictions: list[Tensor] = []
    for image, seen in enumerate(visible):
        tokens = decoder.mask.vector.repeat(12, 1)
        for rank, patch in enumerate(seen):
            tokens[patch] = decoder.embed(read[image, rank + 1])
        x = torch.cat([decoder.embed(read[image, :1]), tokens + positions]).unsqueeze(0)
        for block in decoder.blocks:
            x = block(x)
        predictions.append(decoder.head(decoder.norm(x[0, 1:])))
        target = (every[image] - every[image].mean(1, keepdim=True)) / (every[image].var(1, keepdim=True) + 1e-6).sqrt()
        hidden = [patch for patch in range(12) if patch not in seen]
        losses.append((predictions[-1] - target)[hidden].square().mean())
    return torch.stack(losses).mean(), torch.stack(predictions)


POSITIONS: Any = [("learned", None), ("sincos2d", build_sincos2d_pos_embed([3, 4], dim=WIDTH))]
both_positions = pytest.mark.parametrize(("position", "table"), POSITIONS, ids=["learned", "sincos2d"])


@both_positions
@pytest.mark.parametrize("order", ["raster", "spiral"])
def test_features_are_those_of_timms_vit(position: str, table: Tensor | None, order: str) -> None:
    vit = stock(table)
    model = with_weights_of(vit, position, order=order)
    features = model.forward_features(images())
    torch.testing.assert_close(features, vit.forward_features(images())[:, 1:], rtol=0, atol=1e-5)


@both_positions
@pytest.mark.parametrize("order", ["raster", "hilbert"])
def test_loss_and_prediction_agree_with_the_slow_reference(position: str, table: Tensor | None, order: str) -> None:
    vit = stock(table)
    model = with_weights_of(vit, position, order=order)
    shuffle = model.draw(range(2), 0)["shuffle"]
    out = model(images(), {"shuffle": shuffle})
    visible = model.order[shuffle[:, :3]].tolist()  # 12 patches, of which a quarter is visible
    assert visible[0] != visible[1]
    loss, prediction = reference(model, vit, visible)
    torch.testing.assert_close(out["loss"], loss, rtol=0, atol=1e-10)
    torch.testing.assert_close(out["prediction"], prediction[:, model.order], rtol=0, atol=1e-10)


def test_the_encoder_computes_visible_patches_only() -> None:
    """Of 64 patches 16 are read: the encoder costs a quarter and some for the start token."""
    mae, mse = (darl.create_model("tiny", image_size=32, patch_size=4, objective=kind) for kind in ("mae", "mse"))
    decoder = mae.flops() - mae.config.trunk_flops(16)
    assert counted_operations(mae, torch.randn(2, 3, 32, 32)) == 2 * mae.flops()
    assert counted_operations(mae.decoder, torch.randn(1, 17, 192), torch.arange(64).unsqueeze(0)) == decoder
    assert 0.24 < mae.config.trunk_flops(16) / mse.config.trunk_flops(64) < 0.27
    assert mae.flops() < 0.5 * mse.flops()


def test_gradients_of_positions_do_not_depend_on_the_timing_of_threads() -> None:
    model = small("mae", position="learned")
    at = model.draw(range(64), 0)["shuffle"][:, :3]
    tokens = model.encoder.add_positions(torch.zeros(64, 3, WIDTH).double(), (3, 4), at)
    tokens.backward(weights := torch.randn_like(tokens))
    expected = torch.zeros(12, WIDTH).double()
    for image in range(64):
        for rank in range(3):
            expected[at[image, rank]] += weights[image, rank]
    torch.testing.assert_close(model.encoder.position.table.grad[0], expected)
    assert "EmbeddingBackward" in str(tokens.grad_fn.next_functions[1][0])  # plain indexing adds up in any order


@pytest.mark.parametrize(
    ("size", "depth", "width"),
    [("nano", 1, 32), ("tiny", 4, 96), ("small", 4, 192), ("base", 4, 384), ("large", 8, 512), ("huge", 8, 512)],
)
def test_the_decoders_of_large_and_huge_are_maes(size: str, depth: int, width: int) -> None:
    assert (Mae().depth(SIZES[size]), Mae().width(SIZES[size])) == (depth, width)


@pytest.mark.parametrize(("width", "heads", "expected"), [(36, 3, 12), (4, 1, 4), (6, 3, 12), (1400, 7, 504)])
def test_the_decoders_width_is_possible(width: int, heads: int, expected: int) -> None:
    size = EncoderConfig(width=width, heads=heads, depth=1, patch_size=2)
    assert (Mae().depth(size), Mae().width(size)) == (1, expected)


def test_given_depth_and_width_are_the_decoders() -> None:
    decoder = small("mae:decoder_depth=3,decoder_width=12").decoder
    assert len(decoder.blocks) == 3
    assert decoder.head.in_features == 12


def test_the_decoders_blocks_are_not_the_encoders() -> None:
    """A next-patch model of the same seed has the same encoder."""
    mae, mse = (small(objective, causal=False).encoder.state_dict() for objective in (Mae(), Mse()))
    assert all(torch.equal(mae[name], mse[name]) for name in mse)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "decoder_width=10",
            r"objective\.decoder_width must be 0, or a multiple of 4 and of model\.heads 2, got 10",
        ),
        ("decoder_width=-4", r"objective\.decoder_width must be 0 or more, got -4"),
        ("decoder_depth=-1", r"objective\.decoder_depth must be 0 or more, got -1"),
    ],
)
def test_impossible_decoders_are_refused(options: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        small(f"mae:{options}")
