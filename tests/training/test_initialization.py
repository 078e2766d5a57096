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
from darl.training.events import Saved
from darl.training.initialization import fingerprint_of, read_initialization
from darl.training.pretrain import fit

CPU = torch.device("cpu")
SIZE = EncoderConfig(width=16, depth=2, heads=2, patch_size=2)
LEARNED: dict[str, Any] = {"model": SIZE, "position": Learned(), "causal": False, "objective": Mse(), "noise": None}


def vit(image_size: int = 8, patch_size: int = 2, channels: int = 1, **more: Any) -> VisionTransformer:
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
    assert start.fingerprint == fingerprint_of(model.state_dict())
    assert (start.reshaped, start.resampled) == ((), ())


def test_a_darl_checkpoint_is_taken_whole_and_training_starts_from_it(digits: Dataset, tmp_path: Path) -> None:
    earlier = Experiment(model=SIZE, epochs=1, optim=Optimizer(ema=0.5))
    *_, saved = fit(earlier, digits, device=CPU, full=standard_evaluation(), folder=tmp_path)
    assert isinstance(saved, Saved)
    longer = Experiment(model=SIZE, epochs=2)
    start = read_initialization(str(tmp_path), longer)
    assert (start.missing, start.unexpected, start.reshaped) == ((), (), ())
    averaged = load_pretrained(tmp_path).model.state_dict()
    assert start.fingerprint == fingerprint_of(averaged)
    first = next(fit(longer.changed({"init": start.fingerprint}), digits, device=CPU, full=standard_evaluation(),
                     initial=start.weights))  # fmt: skip
    last = read_history(saved.path)[-1]
    assert first.metrics == last["metrics"]


def read_history(step: Path) -> list[dict[str, Any]]:
    return torch.load(step / "trainer.pt", weights_only=True)["progress"]["history"]


def test_the_fingerprint_depends_on_the_weights_content_only(tmp_path: Path) -> None:
    weights = vit().state_dict()
    turned = dict(reversed(list(weights.items())))
    assert fingerprint_of(weights) == fingerprint_of(turned)
    changed = {**weights, "norm.bias": weights["norm.bias"] + 1e-3}
    assert fingerprint_of(weights) != fingerprint_of(changed)
    assert fingerprint_of(weights) != fingerprint_of({**weights, "norm.bias": weights["norm.bias"].double()})


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
        ("nowhere", None, "init must be a folder or a .safetensors file that darl wrote, got"),
        ("torn.safetensors", b"\x10\0\0\0\0\0\0\0{", "init must be a whole file of weights, got"),
        ("torn.pth", b"PK", "init must be a whole file of weights, got"),
    ],
)
def test_unreadable_weights_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_initialization(str(tmp_path / name), Experiment(**LEARNED))


def test_weights_of_another_kind_of_model_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"init must be the weights of a DARL model or of a ViT of timm's, with patch_"):
        read_initialization(str(tmp_path / "other.safetensors"), Experiment(**LEARNED))


def test_a_name_that_timm_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match=r"init must be of a model that timm has weights of, got 'timm:nothing' \("):
        read_initialization("timm:nothing", Experiment(**LEARNED))
