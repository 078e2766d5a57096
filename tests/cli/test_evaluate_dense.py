"""`darl evaluate` by dense protocols: what is printed, and what is refused before anything is read or trained."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from darl.cli import main
from darl.model.encoder_config import EncoderConfig
from tests.evaluation.dense.example_dense import write_coco, write_masks
from tests.export.example_runs import saved_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = EncoderConfig(width=16, depth=2, heads=2, patch_size=4)
    return saved_run(tmp_path_factory.mktemp("run"), model=size, image_size=32, position="rope2d")


def evaluate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", "evaluate", *map(str, arguments)])
    main()


def values(printed: str, metric: str) -> list[str]:
    (line,) = (line for line in printed.splitlines() if metric in line.split("│")[:2][-1])
    return [cell.strip() for cell in line.strip("│").split("│")[1:]]


def test_segmentation_is_printed_beside_pixels_and_random_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_masks(tmp_path, 20, 32)
    asked = (run, "--protocols", "segmentation:block=1,epochs=5,mask=removed", "--data", tmp_path)
    evaluate(monkeypatch, *asked, "--dry-run")
    assert re.fullmatch(r"segmentation:block=1,.* on \S+: [\d.e-]+ PFLOPs, of which .* half\n", capsys.readouterr().out)
    evaluate(monkeypatch, *asked)
    printed = capsys.readouterr().out
    assert f"{run} on {tmp_path}" in printed
    assert all(re.fullmatch(r"\d+\.\d %", value) for value in values(printed, "segmentation_miou"))
    assert len(values(printed, "segmentation_miou")) == 3
    assert re.search(r"^segmentation_readout: block 1, learning rate \S+; with random weights: block 1", printed, re.M)


def test_detection_is_printed_beside_random_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra coco)")
    write_coco(tmp_path, "train2017", 4, 32)
    protocol = "detection:epochs=1,batch_size=2,channels=16,proposals=8"
    evaluate(monkeypatch, run, "--protocols", protocol, "--data", f"coco:{tmp_path}")
    printed = capsys.readouterr().out
    for metric in ("detection_box_ap", "detection_mask_ap"):
        own, pixels, random = values(printed, metric)
        assert re.fullmatch(r"\d+\.\d %", own)
        assert (pixels, bool(re.fullmatch(r"\d+\.\d %", random))) == ("-", True)


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        evaluate(monkeypatch, *arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_without_pycocotools_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    hidden = lambda name, package=None: None if name == "pycocotools" else found(name, package)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    said = refusal(monkeypatch, capsys, "no-run", "--protocols", "detection", "--data", "coco:none")
    assert said == (
        "error: --protocols must have pycocotools installed for COCO's AP: pip install 'darl[coco]', got 'detection'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocols", "segmentation"), "error: --data must be given for segmentation: it reads images with masks"),
        (("--protocols", "linear,segmentation", "--data", "x"), "error: --protocols must be one alone where it is "),
        (
            ("--protocols", "segmentation:block=0x", "--data", "x"),
            "error: protocol.block must be the number of a block",
        ),
        (("--protocols", "segmentation", "--data", "digits"), "error: --data must be a folder or Parquet files that"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    said = refusal(monkeypatch, capsys, run, *arguments)
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_the_cost_of_labelled_data_is_printed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(monkeypatch, saved_run(tmp_path), "--protocols", "knn", "--dry-run")
    assert re.fullmatch(
        r"data: .*\nknn:\S+ on digits: [\d.e-]+ PFLOPs, of which random weights take half\n", capsys.readouterr().out
    )
