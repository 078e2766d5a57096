"""Checkpoints: whole or not there, which are kept and which is read, and what they hold."""

from pathlib import Path

import pytest
import torch

from darl.data import Dataset
from darl.errors import UserError
from darl.optim import Optimizer
from darl.training import checkpoint
from darl.training.events import Evaluated
from darl.training.pretrain import fit
from tests.training.example_pretraining import CPU, EVALUATED, QUICK, experiment, losses, stop_after


def test_a_checkpoint_appears_whole_or_not_at_all(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise OSError("disk is full")

    events = fit(experiment(), small, device=CPU, full=QUICK, folder=tmp_path, save_every=1)
    stop_after(events, 1)
    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(OSError, match="disk is full"):
        stop_after(events, 2)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000001"]


def test_the_weights_of_an_evaluation_are_saved_before_it_is_reported(small: Dataset, tmp_path: Path) -> None:
    """Whoever ends the run at its last evaluation, as a sweep's budget does, has that evaluation's weights."""
    events = fit(experiment(), small, device=CPU, folder=tmp_path, **EVALUATED)
    for epoch in (2, 4):
        event = next(event for event in events if isinstance(event, Evaluated) and event.epoch == epoch)
        newest = checkpoint.latest(tmp_path)
        assert newest is not None
        assert newest.name == f"step-{event.step:08d}"
    again = list(fit(experiment(), small, device=CPU, folder=tmp_path, resume=newest, **EVALUATED))
    assert [event.epoch for event in again if isinstance(event, Evaluated)] == [0, 2, 4]
    assert not losses(again)


def test_only_the_newest_checkpoints_are_kept(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=QUICK, folder=tmp_path, save_every=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000011", "step-00000012"]


def test_a_checkpoint_holds_no_code(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=QUICK, folder=tmp_path))
    path = checkpoint.latest(tmp_path)
    assert path is not None
    assert sorted(file.name for file in path.iterdir()) == ["model.safetensors", "trainer.pt"]
    assert torch.load(path / "trainer.pt", weights_only=True)["progress"]["step"] == 12


def test_a_checkpoint_is_loaded_without_anything_else(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=QUICK, folder=tmp_path))
    for path in (tmp_path, checkpoint.latest(tmp_path), checkpoint.latest(tmp_path) / "model.safetensors"):
        read = checkpoint.load_pretrained(path)
        assert read.experiment == experiment()
        assert (read.mean, read.std) == (small.mean, small.std)
        assert read.model(torch.zeros(1, 1, 8, 8), seed=0)["loss"].isfinite()


def test_the_newest_whole_checkpoint_is_read(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=QUICK, folder=tmp_path, save_every=1))
    older, newest = sorted(tmp_path.iterdir())
    changed = checkpoint.load_pretrained(older).model.state_dict()
    (tmp_path / "step-00000099").mkdir()  # files come one by one into a bucket

    def is_older(path: str) -> bool:
        """Whether the path gives the older checkpoint."""
        state = checkpoint.load_pretrained(path).model.state_dict()
        return all(torch.equal(state[name], changed[name]) for name in changed)

    assert not is_older(str(tmp_path))
    assert not is_older(f"file://{newest}/model.safetensors")
    (newest / "trainer.pt").unlink()  # as if it were still to come: the weights are there
    assert not is_older(f"file://{tmp_path}")
    data = (newest / "model.safetensors").read_bytes()
    (newest / "model.safetensors").write_bytes(data[:-1])
    assert is_older(f"file://{tmp_path}")


@pytest.mark.parametrize("file", ["model.safetensors", "ema.safetensors", "trainer.pt"])
def test_an_incomplete_checkpoint_is_passed_over(small: Dataset, tmp_path: Path, file: str) -> None:
    averaged = experiment(optim=Optimizer(ema=0.9))
    list(fit(averaged, small, device=CPU, full=QUICK, folder=tmp_path, save_every=1))
    older, newest = sorted(tmp_path.iterdir())
    assert checkpoint.latest(tmp_path) == newest
    data = (newest / file).read_bytes()
    (newest / file).write_bytes(data[: len(data) // 2])
    assert checkpoint.latest(tmp_path) == older
    (newest / file).unlink()
    assert checkpoint.latest(tmp_path) == older


def test_unreadable_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"checkpoint must be a weights file, a checkpoint or a run's folder of checkpoints, got"
    ):
        checkpoint.load_pretrained(tmp_path)
    torn = tmp_path / "model.safetensors"
    torn.write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(UserError, match="checkpoint must be a whole safetensors file, got"):
        checkpoint.load_pretrained(torn)
