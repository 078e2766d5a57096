"""What stays of a trial's checkpoints when it has ended."""

from pathlib import Path

import pytest

from darl.experiment import Experiment
from darl.training.checkpoint_store import CheckpointStore

FILES = ("model.safetensors", "ema.safetensors", "state.pt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Below a hidden folder, as in `~/.cache`."""
    return tmp_path / ".cache" / "sweep"


@pytest.fixture
def trial(root: Path) -> Path:
    """The folder of a trial with two checkpoints and the draft of a third."""
    CheckpointStore(str(root)).begin(Experiment())
    (folder,) = (root / "checkpoints").iterdir()
    for name in (*(f"step-{step:08}/{file}" for step in (4, 6) for file in FILES), ".step-00000008/model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_finished_trial_keeps_its_last_weights(trial: Path, root: Path) -> None:
    store = CheckpointStore(str(root))
    assert store.started() == [Experiment()]
    store.finish(trial.name, keep_weights=True)
    assert store.started() == []
    assert sorted(path.relative_to(trial).as_posix() for path in trial.rglob("*")) == [
        "step-00000006", "step-00000006/ema.safetensors", "step-00000006/model.safetensors",
    ]  # fmt: skip
    store.finish(trial.name, keep_weights=True)  # again, by a driver that goes on
    assert (trial / "step-00000006" / "model.safetensors").read_text() == "step-00000006/model.safetensors"


def test_a_trial_with_an_unreadable_experiment_counts_as_not_started(trial: Path, root: Path) -> None:
    (trial / "experiment.json").write_text("")
    assert CheckpointStore(str(root)).started() == []


def test_nothing_is_kept_of_a_stopped_trial(trial: Path, root: Path) -> None:
    store = CheckpointStore(str(root))
    store.finish(trial.name, keep_weights=False)
    store.finish(trial.name, keep_weights=False)
    assert not trial.exists()
