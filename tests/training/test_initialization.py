"""Weights to start from: what is taken, what is listed, what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation.standard import standard_evaluation
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.mse import Mse
from darl.model.positions import Absent, Learned
from darl.optim import Optimizer
from darl.training.checkpoint import load_pretrained
from darl.training.events import Evaluated, Saved
from darl.training.initialization import read_initialization, weights_fingerprint
from darl.training.pretrain import fit

CPU = torch.device("cpu")
SIZE = EncoderConfig(width=16, depth=2, heads=2, patch_size=2)
LEARNED: dict[str, Any] = {"model": SIZE, "position": Learned(), "causal": False, "objective": Mse(), "noise": None}


def vit(
    image_size: int | tuple[int, int] = 8, patch_size: int = 2, channels: int = 1, **more: Any
) -> VisionTransformer:
    """timm's ViT of the size of `SIZE`; its class token and positions are drawn, since timm leaves them near 0."""
    sizes: dict[str, Any] = {"embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 10}
    model = VisionTransformer(image_size, patch_size, channels, **(sizes | more))
    with torch.no_grad():
        for value in (model.cls_token, model.pos_embed):
            if value is not None:
                value.normal_()
    return model.eval()


@pytest.fixture
def stock(tmp_path: Path) -> str:
    """The weights file of a stock ViT."""
    file = tmp_path / "vit.safetensors"
    save_file(vit().state_dict(), file)
    return str(file)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "timm"])
def test_a_stock_vits_weights_give_its_features(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, file = vit(), tmp_path / f"vit.{kind}"
    if kind == "safetensors":
        save_file(model.state_dict(), file)
    elif kind == "pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, file)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: {("small_vit", True): model}[name, pretrained])
    start = read_initialization("timm:small_vit" if kind == "timm" else str(file), Experiment(**LEARNED))
    darl = Experiment(**LEARNED).build().eval()
    darl.load_state_dict(start.weights, strict=False)
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(darl.forward_features(images), model.forward_features(images)[:, 1:])
    assert all(name.startswith("decoder.") for name in start.missing)
    assert set(start.unexpected) == {"encoder.head.weight", "encoder.head.bias"}
    assert start.fingerprint == weights_fingerprint(model.state_dict())
    assert (start.reshaped, start.resampled) == ((), ())


def test_a_darl_checkpoint_is_taken_whole_and_training_starts_from_it(digits: Dataset, tmp_path: Path) -> None:
    earlier = Experiment(model=SIZE, epochs=1, optim=Optimizer(ema=0.5))
    *_, saved, last = fit(earlier, digits, device=CPU, full=standard_evaluation(), folder=tmp_path)
    assert isinstance(saved, Saved)
    assert isinstance(last, Evaluated)
    longer = Experiment(model=SIZE, epochs=2)
    start = read_initialization(str(tmp_path), longer)
    assert (start.missing, start.unexpected, start.reshaped) == ((), (), ())
    averaged = load_pretrained(tmp_path).model.state_dict()
    assert start.fingerprint == weights_fingerprint(averaged)
    first = next(fit(longer.changed({"init": start.fingerprint}), digits, device=CPU, full=standard_evaluation(),
                     initial=start.weights))  # fmt: skip
    assert first.metrics == last.metrics


def test_the_fingerprint_depends_on_the_weights_content_only(tmp_path: Path) -> None:
    weights = vit().state_dict()
    turned = dict(reversed(list(weights.items())))
    assert weights_fingerprint(weights) == weights_fingerprint(turned)
    changed = {**weights, "norm.bias": weights["norm.bias"] + 1e-3}
    assert weights_fingerprint(weights) != weights_fingerprint(changed)
    assert weights_fingerprint(weights) != weights_fingerprint({**weights, "norm.bias": weights["norm.bias"].double()})


def test_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    save_file(vit(channels=3, depth=3, init_values=1e-5).state_dict(), file)
    start = read_initialization(str(file), Experiment(**LEARNED))
    assert start.reshaped == ("encoder.patch_embed.proj.weight (16x3x2x2 for 16x1x2x2)",)
    assert "encoder.blocks.0.ls1.gamma" in start.unexpected
    assert "encoder.blocks.2.norm1.weight" in start.unexpected
    lines = "\n".join(start.describe())
    assert "of another shape, initialised from the seed: encoder.patch_embed.proj.weight (16x3x2x2" in lines
    assert "not of the model, left out: " in lines


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": Absent()}, r"the run's position encoding absent, got '.*' with learned; give the run that"),
        ({"model": replace(SIZE, patch_size=4)}, r"the run's patch size 4, got '.*' with 2;"),
        ({"image_size": 16}, r"the run's grid of 8 x 8 positions, got '.*' with 4 x 4; .* or init_resample"),
        ({"model": replace(SIZE, width=32)}, r"the run's width 32, got '.*' with 16"),
    ],
    ids=["position", "patch size", "grid", "width"],
)  # fmt: skip
def test_another_kind_of_encoder_is_refused_naming_both(stock: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^init must have {message}"):
        read_initialization(stock, Experiment(**(LEARNED | changes)))


def test_patch_embedding_and_positions_are_resampled_where_that_is_asked(stock: str) -> None:
    larger = Experiment(**(LEARNED | {"model": EncoderConfig(width=16, depth=2, heads=2, patch_size=4)}))
    start = read_initialization(stock, larger, resample=True)
    assert start.resampled == (
        "encoder.patch_embed.proj.weight (16x1x2x2 for 16x1x4x4)",
        "encoder.position.table (1x16x16 for 1x4x16)",
    )
    assert start.weights["encoder.position.table"].shape == (1, 4, 16)
    assert start.reshaped == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, "init must be a weights file, a checkpoint or a run's folder of checkpoints, got"),
        ("torn.safetensors", b"\x10\0\0\0\0\0\0\0{", "init must be a whole file of weights, got"),
        ("torn.pth", b"PK", "init must be a whole file of weights, got"),
    ],
)
def test_unreadable_weights_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_initialization(str(tmp_path / name), Experiment(**LEARNED))


@pytest.mark.parametrize(
    ("vit_changes", "prefix"),
    [({}, 1), ({"reg_tokens": 4}, 5), ({"no_embed_class": True}, 0), ({"class_token": False, "global_pool": "avg"}, 0),
     ({"no_embed_class": True, "reg_tokens": 4}, 0)],
    ids=["class token", "registers", "no_embed_class", "no class token", "registers without positions"],
)  # fmt: skip
def test_positions_of_prefix_tokens_are_told_from_those_of_patches(
    tmp_path: Path, vit_changes: dict[str, Any], prefix: int
) -> None:
    state = vit(**vit_changes).state_dict()
    save_file(state, tmp_path / "vit.safetensors")
    start = read_initialization(str(tmp_path / "vit.safetensors"), Experiment(**LEARNED))
    torch.testing.assert_close(start.weights["encoder.position.table"], state["pos_embed"][:, prefix:])
    if "cls_token" in state:
        first = state["pos_embed"][:, :1] if prefix else 0
        torch.testing.assert_close(start.weights["encoder.start_token"], state["cls_token"] + first)


@pytest.mark.parametrize(
    ("vit_changes", "shown"),
    [({"class_token": False, "global_pool": "avg"}, "168 positions, 0"), ({"reg_tokens": 1}, "170 positions, 2")],
    ids=["no class token", "class token and register"],
)
def test_positions_of_a_grid_that_is_not_square_are_refused(
    tmp_path: Path, vit_changes: dict[str, Any], shown: str
) -> None:
    save_file(vit((24, 28), **vit_changes).state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(UserError, match=rf"^init must have positions of a square grid of patches, got .* with {shown}"):
        read_initialization(str(tmp_path / "vit.safetensors"), Experiment(**LEARNED), resample=True)


def test_weights_of_another_kind_of_model_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"init must be the weights of a DARL model or of a ViT of timm's, with patch_"):
        read_initialization(str(tmp_path / "other.safetensors"), Experiment(**LEARNED))


def test_a_name_that_timm_does_not_know_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"init must name a model with pretrained weights in timm, got 'timm:nothing' \("
    ):
        read_initialization("timm:nothing", Experiment(**LEARNED))
