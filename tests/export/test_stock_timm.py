"""`darl export --to timm`: what is printed loads the encoder in a process that has no darl."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import darl
from darl.data import Dataset
from darl.errors import UserError
from darl.export.base import write_export
from darl.export.stock_timm import StockTimm
from darl.model.positions import Encoding
from tests.export.example_runs import PARTS, READINGS, SIZE, images, saved_run, source_of, trained_run

READER = """
import json, sys
sys.modules["darl"] = None  # an import of it fails
from safetensors.torch import load_file, save_file
images = load_file("images.safetensors")["images"]
for name, lines in json.load(open("lines.json")).items():
    known = {"images": images}
    exec(lines, known)
    save_file({key: known[key].detach().clone() for key in ("features", "vector")}, f"{name}.safetensors")
    assert list(known["config"]["mean"]) in ([0.25], json.load(open("mean.json"))), known["config"]
assert not [module for module in sys.modules if module.startswith("darl.")]
"""


def test_stock_timm_gives_the_features_of_every_reading(tmp_path: Path, digits: Dataset) -> None:
    runs = {name: saved_run(tmp_path / "runs" / name, **changes) for name, changes in READINGS.items()}
    runs["trained"] = trained_run(tmp_path / "runs" / "trained", digits)
    lines: dict[str, str] = {}
    for name, run in runs.items():
        source = source_of(run)
        difference = write_export(StockTimm(), source, str(tmp_path / name))
        assert difference is not None
        lines[name] = StockTimm().loading(source, name)
    save_file({"images": images()}, tmp_path / "images.safetensors")
    (tmp_path / "lines.json").write_text(json.dumps(lines))
    (tmp_path / "mean.json").write_text(json.dumps(digits.mean))
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run([sys.executable, "-c", READER], cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for name, run in runs.items():
        encoder, given = darl.load(run), load_file(tmp_path / f"{name}.safetensors")
        with torch.no_grad():
            features, vector = encoder.forward_features(images()), encoder(images())
        torch.testing.assert_close(given["features"], features, rtol=0, atol=1e-5, msg=lambda text, of=name: of + text)
        torch.testing.assert_close(given["vector"], vector, rtol=0, atol=1e-5, msg=lambda text, of=name: of + text)


def test_order_mask_and_position_make_a_difference(tmp_path: Path) -> None:
    """So that the equality above says something: without its mask the same model gives other features."""
    source = source_of(saved_run(tmp_path / "run", order="hilbert"))
    write_export(StockTimm(), source, str(tmp_path / "timm"))
    model = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    expected = source.encoder.forward_features(images())
    for reading in ({}, {"is_causal": True}):
        assert (model.forward_features(images(), **reading)[:, 1:] - expected).abs().max() > 0.01


def test_another_image_size_is_read_as_darl_reads_it(tmp_path: Path) -> None:
    source = source_of(saved_run(tmp_path / "run"))
    write_export(StockTimm(), source, str(tmp_path / "timm"))
    model = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True, dynamic_img_size=True).eval()
    larger = torch.randn(2, 1, 12, 16)
    with torch.no_grad():
        expected, given = source.encoder.forward_features(larger), model.forward_features(larger, is_causal=True)
    torch.testing.assert_close(given[:, 1:], expected, rtol=0, atol=1e-5)


def test_fine_tuning_has_the_parameters_of_the_encoder_and_a_head(tmp_path: Path) -> None:
    source = source_of(saved_run(tmp_path / "run"))
    write_export(StockTimm(), source, str(tmp_path / "timm"))
    model = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True, num_classes=3)
    own = {value.numel() for value in source.encoder.parameters()}
    assert {value.numel() for name, value in model.named_parameters() if not name.startswith("head.")} == own
    assert model(images()).shape == (5, 3)


def test_a_rotary_encoding_that_timm_lacks_is_refused_by_name(tmp_path: Path) -> None:
    class Turned(Encoding):
        def rotation(self, grid: tuple[int, int]) -> torch.Tensor:
            return torch.zeros(grid[0] * grid[1], 16)

    source = source_of(saved_run(tmp_path / "run", position="absent"))
    source.encoder.position = Turned()
    with pytest.raises(UserError, match=r"^position must be rope1d, rope2d or not rotary: stock timm has no other"):
        write_export(StockTimm(), source, str(tmp_path / "timm"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_swiglu_without_rotary_positions_is_refused_by_name(tmp_path: Path) -> None:
    source = source_of(saved_run(tmp_path / "run", position="sincos2d", model=replace(SIZE, **PARTS)))
    with pytest.raises(
        UserError, match=r"^model\.swiglu must be left out for stock timm, whose models without rotary "
    ):
        write_export(StockTimm(), source, str(tmp_path / "timm"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_older_timm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.models.eva import Eva

    def forward_features(self: object, x: torch.Tensor) -> torch.Tensor:
        return x

    monkeypatch.setattr(Eva, "forward_features", forward_features)
    with pytest.raises(UserError, match=r"^export must have timm 1\.0\.26 or newer"):
        write_export(StockTimm(), source_of(saved_run(tmp_path / "run")), str(tmp_path / "timm"))
