"""One contract for every export target: a class that is defined is in the list by itself.

The proof are `Text`, a target that is mentioned nowhere but here, and `Wrong`, which gives other features.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import darl
from darl.errors import UserError
from darl.export.base import TOLERANCE, Export, Source, write_export
from tests.export.example_runs import images, saved_run, source_of, tuned_run


@dataclass(frozen=True, kw_only=True)
class Text(Export):
    """A new target is one class."""

    kind: ClassVar[str] = "text"

    def write(self, source: Source, folder: Path) -> None:
        (folder / "weights.txt").write_text(str(source.encoder.state_dict()))

    def read(self, source: Source, folder: Path, images: Tensor) -> tuple[Tensor, Tensor] | None:
        assert (folder / "weights.txt").is_file()
        return None

    def loading(self, source: Source, folder: str) -> str:
        return f'text = open("{folder}/weights.txt").read()'


@dataclass(frozen=True, kw_only=True)
class Wrong(Text):
    """A target whose features are others."""

    kind: ClassVar[str] = "wrong"

    def read(self, source: Source, folder: Path, images: Tensor) -> tuple[Tensor, Tensor]:
        patches = source.encoder.forward_features(images) + 2 * TOLERANCE * 10
        return patches, patches.mean(1)


TARGETS: list[Any] = [target() for target in Export.kinds().values()]
OWN = [target for target in TARGETS if type(target).__module__.startswith("darl.")]
WRITTEN = [pytest.param(target, marks=pytest.mark.slow if target.needs else ()) for target in OWN]
"""Those that need large packages take their time."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(saved_run(tmp_path_factory.mktemp("run"), order="hilbert"))


def test_a_new_target_is_found() -> None:
    assert Export.parse("text") == Text()
    assert any(isinstance(target, Text) for target in TARGETS)


@pytest.mark.parametrize("target", WRITTEN, ids=str)
def test_what_is_printed_loads_the_encoder(target: Export, source: Source, tmp_path: Path) -> None:
    for package in target.needs:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install -e '.[{target.extra}]'")
    output = tmp_path / "out"
    difference = write_export(target, source, str(output))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    modes = {path.stat().st_mode & 0o044 for path in output.iterdir()}
    assert modes == {output.stat().st_mode & 0o044}
    if difference is None:
        pytest.skip("the program that reads it is not installed")
    assert difference <= TOLERANCE
    known: dict[str, Any] = {"images": images().numpy() if target.kind == "onnx" else images()}
    with torch.no_grad():
        exec(target.loading(source, str(output)), known)
        patches = source.encoder.forward_features(images())
    for given, expected in ((known["features"], patches), (known["vector"], patches.mean(1))):
        torch.testing.assert_close(torch.as_tensor(given), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("target", WRITTEN, ids=str)
def test_a_fine_tuned_run_is_exported_without_its_classifier(target: Export, tmp_path: Path) -> None:
    for package in target.needs:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install -e '.[{target.extra}]'")
    run = tuned_run(tmp_path / "run")
    source = source_of(run)
    torch.testing.assert_close(source.encoder(images()), darl.load(run, num_classes=0)(images()), rtol=0, atol=0)
    difference = write_export(target, source, str(tmp_path / "out"))
    assert difference is None or difference <= TOLERANCE


def test_attentive_pooling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^checkpoint must have no attentive pooling, which is darl's own"):
        source_of(tuned_run(tmp_path, attentive=True))


def test_the_folder_survives_a_crash_of_the_machine(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are on the disk before the folder is renamed, and its new name after that."""
    synced: list[tuple[str, bool]] = []

    def noted(handle: int) -> None:
        synced.append((str(Path(f"/dev/fd/{handle}").resolve()), (tmp_path / "out").exists()))

    monkeypatch.setattr(os, "fsync", noted)
    write_export(Text(), source, str(tmp_path / "out"))
    assert [(Path(path).name, there) for path, there in synced[:2]] == [("weights.txt", False), ("draft", False)]
    assert synced[2:] == [(str(tmp_path), True)]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_folder_that_holds_something_is_left_as_it_is(target: Export, source: Source, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"^output must be a folder that is new or empty, got"):
        write_export(target, source, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("target", OWN, ids=str)
def test_a_target_explains_itself(target: Export) -> None:
    assert (type(target).__doc__ or "").splitlines()[0].endswith(".")


def test_features_that_differ_are_refused_and_leave_nothing(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^export must give the encoder's features to 1e-05 .* got 'wrong'"):
        write_export(Wrong(), source, str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_within_leaves_nothing(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("disk")

    monkeypatch.setattr(Text, "read", fail)
    with pytest.raises(RuntimeError, match="disk"):
        write_export(Text(), source, str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text, "needs", ("nonesuch",))
    monkeypatch.setattr(Text, "extra", "onnx")
    with pytest.raises(UserError, match=r"export must have nonesuch installed: pip install 'darl\[onnx\]', got 'text'"):
        write_export(Text(), source, str(tmp_path / "out"))
