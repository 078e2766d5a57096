"""The store of trials' checkpoints, on a disk or in an object store.

    RESULTS/SWEEP/checkpoints/TRIAL_ID/experiment.json    written when a sweep's trial starts
                                      /step-00000440/…    see darl.training.checkpoint

A trial with an experiment here and no row in the tables is unfinished, and is resumed from its newest checkpoint. A run
in one process writes its checkpoints here itself; Ray Train, with several workers, stores them under the same names. So
a run that was started in one of these ways can be resumed in the other.
"""

import contextlib
import json
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from darl.data.content import DataContent
from darl.experiment import Experiment
from darl.storage.folder import WRITING, ResultsFolder
from darl.training.checkpoint import TRAINER_FILE, newest

__all__ = ["CHECKPOINTS", "CheckpointStore"]

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints next to the tables."""

_NOTE = "experiment.json"


class CheckpointStore:
    """The checkpoints of the trials in a folder of results. Methods raise OSError.

    Args:
        root: `RESULTS/SWEEP`, a local path or an address (s3://, gs://).

    """

    def __init__(self, root: str):
        self.root = ResultsFolder(root, "results")

    def begin(self, experiment: Experiment) -> None:
        """Write the trial's experiment, so that the trial counts as started."""
        folder = _folder(experiment.trial_id)
        for name in (WRITING, folder):
            self.root.make(name)
        self.root.put(f"{folder}/{_NOTE}", experiment.to_json().encode())

    def started(self) -> list[Experiment]:
        """The experiments of all trials in the store, in the order of their folders' names."""
        trials = self.root.folders_in(CHECKPOINTS)
        return [experiment for trial in trials if (experiment := self._read(f"{_folder(trial)}/{_NOTE}"))]

    def adopt(self, contents: Mapping[str, DataContent]) -> None:
        """Rename the folders of trials that an older version of darl has started to the trial ids of this version.

        contents: the data's content by address, which older records do not hold.

        The old folder is deleted last: after a kill the next call copies it again.
        """
        for trial in self.root.folders_in(CHECKPOINTS):
            experiment = self._read(f"{_folder(trial)}/{_NOTE}")
            experiment = experiment and experiment.knowing(contents)
            if experiment is None or trial == experiment.trial_id:
                continue
            self.root.copy_folder(_folder(trial), _folder(experiment.trial_id))
            self.begin(experiment)
            self.root.delete_folder(_folder(trial))

    def finish(self, trial_id: str, *, keep_weights: bool) -> None:
        """Delete a trial's resumption state; keep its newest weights if `keep_weights`."""
        trial = _folder(trial_id)
        kept = newest(self.root, trial, resumable=False) if keep_weights else None
        for name in self.root.files_in(trial):
            self._drop_file(f"{trial}/{name}")
        others = [folder for folder in self.root.folders_in(trial) if folder != kept]
        shards = [f"{kept}/{folder}" for folder in self.root.folders_in(f"{trial}/{kept}")] if kept else []
        for folder in [*others, *shards]:
            with contextlib.suppress(OSError):  # workers that are being stopped may still write
                self.root.delete_folder(f"{trial}/{folder}")
        for name in self.root.files_in(f"{trial}/{kept}") if kept else []:
            if not name.endswith(".safetensors"):
                self._drop_file(f"{trial}/{kept}/{name}")
        if not keep_weights and self.root.is_folder(trial):
            self.root.delete_folder(trial)

    @contextmanager
    def folder(self, experiment: Experiment) -> Generator[Path]:
        """A local folder for a trial's checkpoints, which holds the newest one if there is any."""
        trial = _folder(experiment.trial_id)
        if self.root.local:
            yield Path(self.root.path(trial))
            return
        with tempfile.TemporaryDirectory() as copy:
            step = self.newest(experiment)
            if step is not None:
                self.root.fetch(f"{trial}/{step}", Path(copy, step))
            yield Path(copy)

    def saved(self, experiment: Experiment, path: Path) -> None:
        """Upload a checkpoint of `folder`, file by file: until the last one, `trainer.pt`, it is incomplete."""
        if self.root.local:
            return
        target = f"{_folder(experiment.trial_id)}/{path.name}"
        for file in sorted(path.iterdir(), key=lambda file: file.name == TRAINER_FILE):
            self.root.store(file, f"{target}/{file.name}")
        self.prune(experiment, keep=2)

    def newest(self, experiment: Experiment) -> str | None:
        """The name of a trial's newest complete checkpoint, `step-…`; None where there is none.

        In an object store an object is complete or absent; on a disk a killed process may leave a partial file.
        """
        return newest(self.root, _folder(experiment.trial_id))

    def newest_path(self, experiment: Experiment) -> str | None:
        """The path of a trial's newest complete checkpoint in the file system `root.files`; None without one."""
        step = self.newest(experiment)
        return None if step is None else self.root.path(f"{_folder(experiment.trial_id)}/{step}")

    def drop(self, trial_id: str, name: str) -> None:
        """Delete a file of a trial's folder, where there is one."""
        if self.root.is_file(f"{_folder(trial_id)}/{name}"):
            self._drop_file(f"{_folder(trial_id)}/{name}")

    def prune(self, experiment: Experiment, *, keep: int) -> None:
        """Delete a trial's checkpoints except the newest `keep` complete ones."""
        last, steps = self.newest(experiment), self._steps(experiment.trial_id)
        kept = [step for step in steps if last is not None and step <= last][-keep:]
        for step in set(steps) - set(kept):
            self.root.delete_folder(f"{_folder(experiment.trial_id)}/{step}")

    def _steps(self, trial_id: str) -> list[str]:
        return [name for name in self.root.folders_in(_folder(trial_id)) if name.startswith("step-")]

    def _drop_file(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # workers that are being stopped may still tidy up
            self.root.delete(name)

    def _read(self, name: str) -> Experiment | None:
        data = self.root.get(name)
        try:
            return Experiment.from_record(json.loads(data)) if data is not None else None
        except ValueError:  # torn, or of a variant that is not known
            return None


def _folder(trial_id: str) -> str:
    return f"{CHECKPOINTS}/{trial_id}"
