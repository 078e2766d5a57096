"""`darl generate`: a page of drawn or continued images."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from darl.cli import main
from darl.data import load
from darl.training.checkpoint import load_pretrained
from darl.training.pretrain import fit
from tests.evaluation.example_subjects import CPU, experiment

RUNS = {
    "told": {"objective": "diffusion:gamma_conditioning=true"},
    "untold": {"objective": "diffusion"},
    "conditional": {"objective": "mse", "noise": None, "condition": "labels"},
}
FRAME = 2
"""Pixels around each image of a page."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of models of the digits: with gamma, without, and conditioned on labels."""
    folder, digits = tmp_path_factory.mktemp("runs"), load("digits", image_size=8, channels=1)
    for name, changes in RUNS.items():
        run = replace(experiment(epochs=1).changed(changes), content=digits.content)
        list(fit(run, digits, device=CPU, folder=folder / name, full=lambda *_: {}))
    return {name: folder / name for name in RUNS}


def generate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", "generate", *map(str, arguments)])
    main()


def page(path: Path, columns: int) -> NDArray[np.uint8]:
    """The images (rows, columns, 8, 8) of a page of digits."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("L"))
    side = 8 + FRAME
    rows = (pixels.shape[0] - FRAME) // side
    assert pixels.shape == (rows * side + FRAME, columns * side + FRAME)
    return pixels[FRAME:, FRAME:].reshape(rows, side, columns, side)[:, :8, :, :8].transpose(0, 2, 1, 3)


def test_images_differ_by_seed_steps_sampler_and_temperature(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[bytes] = []
    own = ("--seed", 1), ("--steps", 3), ("--sampler", "ddim"), ("--temperature", 0.5), (), ()
    for number, flags in enumerate(own):
        output = tmp_path / f"{number}.png"
        generate(monkeypatch, runs["told"], "--steps", 2, "--count", 4, *flags, "--output", output)
        pages.append(page(output, 2).tobytes())
    assert pages[-1] == pages[-2]
    assert len(set(pages)) == 5


def test_a_page_of_continued_images(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "continued.png"
    generate(monkeypatch, runs["told"], "--prefix", 0.5, "--count", 4, "--output", output)
    shown = page(output, 3)  # (images, of which three, 8, 8)
    assert len(shown) == 4
    given, drawn, true = shown.transpose(1, 0, 2, 3)
    validation = {digit.tobytes() for digit in load("digits", image_size=8, channels=1).validation.pixels}  # type: ignore[union-attr]
    assert {digit.tobytes() for digit in np.ascontiguousarray(true)} <= validation
    np.testing.assert_array_equal(given[:, :4], true[:, :4])  # raster order: the upper half
    np.testing.assert_array_equal(drawn[:, :4], true[:, :4])
    assert set(given[:, 4:].ravel()) == {128}
    assert (drawn[:, 4:] != true[:, 4:]).mean() > 0.2


def test_a_column_of_each_class(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MSE draws the mean image, which here depends on the class alone; digits' names are their numbers."""
    output, model = tmp_path / "classes.png", load_pretrained(runs["conditional"])
    generate(monkeypatch, runs["conditional"], "--class", 3, 7, 0, "--count", 6, "--guidance", 2, "--output", output)
    shown = page(output, 3)
    np.testing.assert_array_equal(shown[0], shown[1])
    drawn = model.model.generate(3, labels=[3, 7, 0], guidance=2.0)
    pixels = ((drawn * model.std[0] + model.mean[0]).clamp(0, 1) * 255 + 0.5).byte().numpy()
    np.testing.assert_array_equal(shown[0], pixels[:, 0])


def test_pixels_are_enlarged_and_a_single_step_is_said(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "large.png"
    generate(monkeypatch, runs["untold"], "--count", 1, "--enlarge", 4, "--output", output)
    assert capsys.readouterr().err.startswith("drawn in one step, since the decoder cannot know gamma: ")
    with Image.open(output) as opened:
        assert opened.size == (4 * 8, 4 * 8)  # a single image has no frame


@pytest.mark.parametrize(
    ("run", "flags", "message"),
    [
        ("untold", ("--steps", 4), "objective.gamma_conditioning must be true (in pretraining) to draw patches of 4 "
         "numbers in more than one step (or set steps to 1), got False"),
        ("told", ("--sampler", "euler"), "--sampler must be one of ancestral, ddim, got 'euler'"),
        ("told", ("--temperature", "inf"), "--temperature must be a finite number, 0 or more, got inf"),
        ("told", ("--prefix", 1), "--prefix must be above 0 and below 1, got 1.0"),
        ("told", ("--data", "digits"), "--data must come with --prefix: it is continued, got 'digits'"),
        ("told", ("--class", "3"), "--class must be left out for a model that was pretrained without --condition "
         "labels, got ['3']"),
        ("conditional", ("--class", "ten"), "--class must be a number below 10, or one of 0, 1, 2, 3, 4, 5, 6, 7, 8, "
         "9, got 'ten'"),
        ("conditional", ("--guidance", 2), "--guidance must come with --class, got 2.0"),
        ("conditional", ("--class", "3", "--prefix", 0.5), "--class must be left out with --prefix, got ['3']"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_one_line(
    run: str, flags: tuple[object, ...], message: str, runs: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        generate(monkeypatch, runs[run], *flags, "--output", tmp_path / "none.png")
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "none.png").exists()
