"""Weights travel: timm takes DARL's checkpoints, with the settings that the file's metadata names."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

import darl
from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig, size_of
from darl.model.orders import Spiral
from darl.model.positions import Learned, Position, Sincos2d
from darl.training.description import Description

NAME = "darl_nano_patch16_224"
SIZE = size_of("nano", patch_size=8)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def run(folder: Path, **changes: Any) -> tuple[Path, Darl]:
    """A weights file as a run writes it, and the model."""
    fields = {"model": SIZE, "image_size": 32, "channels": 3, "position": Sincos2d(), "order": Spiral()} | changes
    experiment = Experiment(**fields)
    model, file = experiment.build().eval(), folder / "model.safetensors"
    save_file(model.state_dict(), file, Description(experiment, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).to_metadata())
    return file, model


@pytest.mark.parametrize("position", sorted(Position.kinds()))
def test_timm_takes_settings_and_weights_from_the_file(tmp_path: Path, position: str) -> None:
    file, model = run(tmp_path, position=Position.parse(position))
    encoder = timm.create_model(NAME, checkpoint_path=str(file)).eval()
    torch.testing.assert_close(encoder.forward_features(IMAGES), model.forward_features(IMAGES), rtol=0, atol=0)
    assert encoder(IMAGES).shape == (2, 1000)
    config = timm.data.resolve_data_config(model=encoder)
    assert (config["mean"], config["std"], config["input_size"]) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (3, 32, 32))


def test_every_way_that_timm_has_of_reading_a_file_gives_the_same(tmp_path: Path) -> None:
    file, model = run(tmp_path)
    expected = model.forward_features(IMAGES)
    for options in ({"checkpoint_path": file}, {"pretrained": True, "checkpoint_path": file},
                    {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}}):  # fmt: skip
        for num_classes in (0, 10, 1000):
            encoder = timm.create_model(NAME, num_classes=num_classes, **options).eval()
            torch.testing.assert_close(encoder.forward_features(IMAGES), expected, rtol=0, atol=0)
    maps = timm.create_model(NAME, features_only=True, out_indices=[0, 2], checkpoint_path=file).eval()(IMAGES)
    torch.testing.assert_close(maps[1], encoder.forward_intermediates(IMAGES, [0, 2])[1][1], rtol=0, atol=0)
    holder = torch.nn.ModuleDict({"encoder": encoder, "other": torch.nn.Linear(1, 1)})
    holder.load_state_dict(holder.state_dict())


@pytest.mark.parametrize("position", ["learned", "rope2d", "sincos2d"])
def test_another_image_size_is_taken_and_learned_positions_are_resampled(tmp_path: Path, position: str) -> None:
    file, model = run(tmp_path, position=Position.parse(position))
    encoder = timm.create_model(NAME, checkpoint_path=file, img_size=(64, 48)).eval()
    assert encoder.grid == (8, 6)
    images = torch.randn(2, 3, 64, 48)
    torch.testing.assert_close(encoder.forward_features(images), model.forward_features(images))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"position": "rope2d"}, "position must be 'sincos2d', the checkpoint's, got 'rope2d'; leave it out"),
        ({"order": "raster"}, "order must be 'spiral', the checkpoint's, got 'raster'; leave it out"),
        ({"global_pool": "token"}, "global_pool must be 'avg', the checkpoint's, got 'token'; leave it out"),
        ({"causal": False}, "causal must be True, the checkpoint's, and may be set afterwards "
         "(encoder.causal = False) to fine-tune without the mask, got False; leave it out"),
        ({"patch_size": 16}, "patch_size must be 8, the checkpoint's, got 16; leave it out"),
        ({"in_chans": 1}, "in_chans must be 3, the checkpoint's, got 1; leave it out"),
        ({"pretrained_cfg_overlay": {"mean": (0.5, 0.5, 0.5)}},
         "mean must be (0.1, 0.2, 0.3), the checkpoint's, got (0.5, 0.5, 0.5); leave it out"),
        ({"pretrained_cfg_overlay": {"std": (1, 1, 1)}},
         "std must be (0.4, 0.5, 0.6), the checkpoint's, got (1, 1, 1); leave it out"),
    ],
    ids=["position", "order", "readout", "mask", "patch size", "channels", "mean", "std"],
)  # fmt: skip
def test_what_contradicts_the_file_is_refused_by_name(tmp_path: Path, option: dict[str, Any], message: str) -> None:
    file, _ = run(tmp_path)
    with pytest.raises(UserError) as error:
        timm.create_model(NAME, checkpoint_path=str(file), **option)
    assert str(error.value) == message


def test_a_file_that_contradicts_a_model_is_refused_by_timms_loader(tmp_path: Path) -> None:
    file, model = run(tmp_path)
    encoder = timm.create_model(NAME, img_size=32, patch_size=8, num_classes=0, order="spiral", causal=True)
    message = r"^position must be 'sincos2d', the checkpoint's, got 'rope2d:temperature=10000'; give checkpoint_path to"
    with pytest.raises(UserError, match=message):
        timm.models.load_checkpoint(encoder, str(file))
    encoder = timm.create_model(
        NAME, img_size=32, patch_size=8, num_classes=0, order="spiral", causal=True, position="sincos2d"
    )
    timm.models.load_checkpoint(encoder.eval(), str(file))
    torch.testing.assert_close(encoder.forward_features(IMAGES), model.forward_features(IMAGES), rtol=0, atol=0)


def test_what_agrees_with_the_file_is_taken(tmp_path: Path) -> None:
    file, _ = run(tmp_path)
    agreeing = {"position": "sincos2d", "order": "spiral", "causal": True, "patch_size": (8, 8), "in_chans": 3}
    encoder = timm.create_model(NAME, checkpoint_path=str(file), global_pool="", num_classes=0, **agreeing)
    assert encoder(IMAGES).shape == (2, 16, 64)
    assert timm.create_model(NAME, checkpoint_path=str(file), global_pool="avg").global_pool == "avg"


def test_a_model_of_another_size_and_a_wrong_file_are_refused(tmp_path: Path) -> None:
    file, _ = run(tmp_path)
    message = r"^model must have the checkpoint's width 64, depth 4, 4 heads, MLP ratio 4, got darl_tiny.* darl.load"
    with pytest.raises(UserError, match=message):
        timm.create_model("darl_tiny_patch16_224", checkpoint_path=str(file))
    with pytest.raises(UserError, match=r"^checkpoint_path must be a weights file, as RUN/step-…/model.safetensors"):
        timm.create_model(NAME, checkpoint_path=str(tmp_path))
    (tmp_path / "torn.safetensors").write_bytes(file.read_bytes()[:99])
    with pytest.raises(UserError, match=r"^checkpoint_path must be a whole safetensors file, got '.*torn"):
        timm.create_model(NAME, checkpoint_path=str(tmp_path / "torn.safetensors"))


def test_pretrained_without_weights_says_what_to_do() -> None:
    message = r"^pretrained must be False for darl_nano_patch16_224, got True: .*checkpoint_path=.*darl.load\('RUN'\)$"
    with pytest.raises(UserError, match=message):
        timm.create_model(NAME, pretrained=True)


def test_weights_that_timm_saved_are_read_as_before(tmp_path: Path) -> None:
    encoder = timm.create_model(NAME, num_classes=5, img_size=32, patch_size=8, position="learned").eval()
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    torch.save(encoder.state_dict(), tmp_path / "encoder.pth")
    for name in ("encoder.safetensors", "encoder.pth"):
        again = timm.create_model(NAME, num_classes=5, img_size=32, patch_size=8, position="learned",
                                  checkpoint_path=tmp_path / name).eval()  # fmt: skip
        torch.testing.assert_close(again(IMAGES), encoder(IMAGES), rtol=0, atol=0)


def test_a_model_with_the_files_settings_is_saved_with_them(tmp_path: Path) -> None:
    """timm's folder for the Hub: read again, it gives the same model."""
    file, _ = run(tmp_path, position=Learned())
    encoder = timm.create_model(NAME, num_classes=3, checkpoint_path=str(file)).eval()
    timm.models.save_for_hf(encoder, tmp_path / "saved")
    again = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True).eval()
    torch.testing.assert_close(again(IMAGES), encoder(IMAGES), rtol=0, atol=0)


@pytest.mark.parametrize("readout", ["mean", "last"])
def test_load_gives_the_pretrained_encoder_of_a_run_of_any_size(tmp_path: Path, readout: str) -> None:
    size = EncoderConfig(width=48, depth=2, heads=3, patch_size=8, readout=readout)
    (tmp_path / "step-00000001").mkdir()
    _, model = run(tmp_path / "step-00000001", model=size)
    encoder = darl.load(tmp_path)
    assert not encoder.training
    torch.testing.assert_close(encoder(IMAGES), model.forward_head(model.forward_features(IMAGES)), rtol=0, atol=0)
    assert timm.data.resolve_data_config(model=encoder)["std"] == (0.4, 0.5, 0.6)
    assert darl.load(str(tmp_path), num_classes=7, img_size=64)(IMAGES).shape == (2, 7)
    with pytest.raises(UserError, match=r"^position must be 'sincos2d', the checkpoint's, got 'absent'"):
        darl.load(tmp_path, position="absent")
    with pytest.raises(UserError, match=r"^checkpoint must be a weights file"):
        darl.load(tmp_path / "nowhere")
