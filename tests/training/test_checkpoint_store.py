"""Which checkpoints of a trial are found, and what stays of them when it has ended."""

import shutil
from pathlib import Path

import pytest
import torch

from darl.data.content import DataContent
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.optim import Optimizer, build_optimizer
from darl.storage.folder import ResultsFolder
from darl.training import checkpoint
from darl.training.checkpoint import TrainingState
from darl.training.checkpoint_store import CheckpointStore
from darl.training.description import Description
from darl.training.progress import TrainingProgress

SIZE = EncoderConfig(width=16, depth=1, heads=2, patch_size=2)
EXPERIMENT = Experiment(model=SIZE, optim=Optimizer(ema=0.9))
FILES = ["ema.safetensors", "model.safetensors", "trainer.pt"]


def save(folder: Path, step: int) -> Path:
    """A real checkpoint of `EXPERIMENT`, whose weights tell its step."""
    model, average = EXPERIMENT.build(), EXPERIMENT.build()
    with torch.no_grad():
        for module in (model, average):
            module.encoder.start_token.fill_(step)
    optimizer = build_optimizer(model, EXPERIMENT.optim, 1e-3)
    progress = TrainingProgress(step=step)
    state = TrainingState(model=model, average=average, optimizer=optimizer, progress=progress)
    return checkpoint.save(folder, state, Description(EXPERIMENT, (0.5,), (0.25,)), keep=9)


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def step_read_from(folder: Path) -> int:
    """The step of the checkpoint that `darl evaluate` reads."""
    weights = checkpoint.load_pretrained(folder).model.state_dict()
    return int(weights["encoder.start_token"].flatten()[0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Below a hidden folder, as in `~/.cache`."""
    return tmp_path / ".cache" / "sweep"


@pytest.fixture
def store(root: Path) -> CheckpointStore:
    return CheckpointStore(str(root))


@pytest.fixture
def trial(store: CheckpointStore, root: Path) -> Path:
    """The folder of a trial with two checkpoints and the draft of a third."""
    store.begin(EXPERIMENT)
    (folder,) = (root / "checkpoints").iterdir()
    for step in (4, 6):
        save(folder, step)
    shutil.copytree(folder / "step-00000006", folder / ".step-00000008-1")
    return folder


def left(trial: Path) -> dict[str, list[str]]:
    return {path.name: sorted(file.name for file in path.iterdir()) for path in sorted(trial.iterdir())}


def test_a_finished_trial_keeps_its_last_weights(store: CheckpointStore, trial: Path) -> None:
    assert store.started() == [EXPERIMENT]
    for _ in range(2):  # again, by a driver that goes on
        store.finish(trial.name, keep_weights=True)
        assert store.started() == []
        assert left(trial) == {"step-00000006": FILES[:2]}
    assert step_read_from(trial) == 6


@pytest.mark.parametrize("file", FILES[:2])
def test_a_finished_trial_keeps_its_newest_complete_weights(store: CheckpointStore, trial: Path, file: str) -> None:
    tear(trial / "step-00000006" / file)
    store.finish(trial.name, keep_weights=True)
    assert left(trial) == {"step-00000004": FILES[:2]}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("absent", [False, True], ids=["torn", "absent"])
def test_an_incomplete_checkpoint_is_passed_over(store: CheckpointStore, trial: Path, file: str, absent: bool) -> None:
    """Whether it is a copy on a disk that was killed, or an upload whose files come one by one."""
    newest = trial / "step-00000006"
    assert store.newest(EXPERIMENT) == newest.name
    (newest / file).unlink() if absent else tear(newest / file)
    assert store.newest(EXPERIMENT) == "step-00000004"
    assert (store.newest_path(EXPERIMENT) or "").endswith(f"{trial.name}/step-00000004")
    assert checkpoint.latest(trial) == trial / "step-00000004"
    assert step_read_from(trial) == (6 if file == "trainer.pt" else 4)
    store.prune(EXPERIMENT, keep=1)
    assert [path.name for path in trial.glob("step-*")] == ["step-00000004"]


def test_a_checkpoint_without_its_moving_average_is_not_taken_for_another(trial: Path) -> None:
    (trial / "step-00000006" / "ema.safetensors").unlink()
    with pytest.raises(ValueError, match="must be a weights file, a checkpoint or a run's folder of checkpoints, got"):
        checkpoint.load_pretrained(trial / "step-00000006")


def test_a_folder_in_a_bucket_is_fetched_and_filled(
    store: CheckpointStore, trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.root, "local", False)
    with store.folder(EXPERIMENT) as folder:
        assert left(folder) == {"step-00000006": FILES}
        saved = save(folder, 8)
        (trial / saved.name).mkdir()  # an object store needs no folders
        store.saved(EXPERIMENT, saved)
    assert [path.name for path in sorted(trial.glob("step-*"))] == ["step-00000006", "step-00000008"]
    assert store.newest(EXPERIMENT) == saved.name


def test_a_trial_with_an_unreadable_experiment_counts_as_not_started(store: CheckpointStore, trial: Path) -> None:
    (trial / "experiment.json").write_text("")
    assert store.started() == []


def test_nothing_is_kept_of_a_stopped_trial(store: CheckpointStore, trial: Path) -> None:
    store.finish(trial.name, keep_weights=False)
    store.finish(trial.name, keep_weights=False)
    assert not trial.exists()


def test_a_killed_adoption_is_made_again(
    store: CheckpointStore, trial: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of older versions have no content of the data in their records, and so another id."""
    contents = {EXPERIMENT.data: DataContent(train=9, validation=9, classes=None, fingerprint="f")}

    def killed(folder: ResultsFolder, name: str, target: str) -> None:
        shutil.copytree(root / name / "step-00000004", root / target / "step-00000004")
        tear(root / target / "step-00000004" / "model.safetensors")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResultsFolder, "copy_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            store.adopt(contents)
    for _ in range(2):
        store.adopt(contents)
        (adopted,) = store.started()
        assert adopted == EXPERIMENT.knowing(contents)
        assert [path.name for path in (root / "checkpoints").iterdir()] == [adopted.trial_id]
        assert store.newest(adopted) == "step-00000006"
    (root / "checkpoints" / adopted.trial_id / "step-00000006" / "trainer.pt").unlink()
    assert store.newest(adopted) == "step-00000004"
