"""Where a sweep's trials keep their checkpoints, on a disk or in an object store.

    RESULTS/SWEEP/checkpoints/TRIAL_ID/experiment.json    written when the trial starts
                                      /step-00000440/…    see darl.training.checkpoint

A trial that has an experiment here and no row in the tables is unfinished, and goes on from its newest checkpoint.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from darl.data.content import DataContent
from darl.experiment import Experiment
from darl.storage.folder import ResultsFolder

__all__ = ["CheckpointStore"]


class CheckpointStore:
    """The checkpoints of a sweep's trials.

    Args:
        root: `RESULTS/SWEEP`, a local path or a URI that pyarrow knows (s3://, gs://).

    """

    def __init__(self, root: str):
        place = ResultsFolder(root, "--results")
        self.files, self.remote = place.files, not place.local
        self.root = f"{place.folder}/checkpoints"

    def begin(self, experiment: Experiment) -> None:
        """Note that a trial starts."""
        folder = f"{self.root}/{experiment.trial_id}"
        self.files.create_dir(folder, recursive=True)
        draft, final = f"{folder}/.experiment.json", f"{folder}/experiment.json"
        with self.files.open_output_stream(draft) as file:
            file.write(experiment.to_json().encode())
        self.files.move(draft, final)

    def started(self) -> list[Experiment]:
        """The experiments that were started and not forgotten, in a fixed order."""
        experiments = (self._read(f"{folder}/experiment.json") for folder in self._folders())
        return [experiment for experiment in experiments if experiment is not None]

    def adopt(self, contents: Mapping[str, DataContent]) -> None:
        """Let trials that an older version of darl has started go on: their folders get the ids that they have now.

        contents: of the data, by address, which older records do not say.
        """
        for folder in self._folders():
            experiment = self._read(f"{folder}/experiment.json")
            if experiment is None or folder.endswith(f"/{experiment.knowing(contents).trial_id}"):
                continue
            experiment = experiment.knowing(contents)
            target = f"{self.root}/{experiment.trial_id}"
            if self.files.get_file_info(target).type == fs.FileType.NotFound:
                fs.copy_files(folder, target, self.files, self.files)  # object stores cannot rename a folder
                self.begin(experiment)
                self.files.delete_dir(folder)

    def _folders(self) -> list[str]:
        """Those of trials, in a fixed order."""
        selector = fs.FileSelector(self.root, allow_not_found=True)
        return sorted(info.path for info in self.files.get_file_info(selector) if not info.is_file)

    def finish(self, trial_id: str, *, keep_weights: bool) -> None:
        """Drop what a trial needed to go on; its last weights stay where wanted."""
        folder = f"{self.root}/{trial_id}"
        infos = self.files.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
        whole = [info.path for info in infos if "/." not in info.path.removeprefix(folder)]  # drafts are hidden
        weights = sorted(path for path in whole if path.endswith(".safetensors"))
        newest = weights[-1].rpartition("/")[0] if weights and keep_weights else None
        for info in infos:
            kept = newest and (info.path == newest or (info.path in weights and info.path.startswith(newest)))
            if info.is_file and not kept:
                with contextlib.suppress(FileNotFoundError):  # workers that are being stopped may still tidy up,
                    self.files.delete_file(info.path)
            elif not kept:
                with contextlib.suppress(OSError):  # or write
                    self.files.delete_dir(info.path)
        if not keep_weights and self.files.get_file_info(folder).type == fs.FileType.Directory:
            self.files.delete_dir(folder)

    @contextmanager
    def folder(self, trial_id: str) -> Iterator[Path]:
        """A local folder for a trial's checkpoints, holding the newest one there is."""
        if not self.remote:
            yield Path(self.root) / trial_id
            return
        with tempfile.TemporaryDirectory() as place:
            for step in self._whole(trial_id)[-1:]:
                fs.copy_files(f"{self.root}/{trial_id}/{step}", f"{place}/{step}", self.files, fs.LocalFileSystem())
            yield Path(place)

    def saved(self, trial_id: str, path: Path) -> None:
        """Bring a checkpoint of `folder` to the store. A marker written last says that it is whole."""
        if not self.remote:
            return
        target, older = f"{self.root}/{trial_id}", self._whole(trial_id)
        fs.copy_files(str(path), f"{target}/{path.name}", fs.LocalFileSystem(), self.files)
        with self.files.open_output_stream(f"{target}/{path.name}.whole"):
            pass
        for step in older[:-1]:
            self.files.delete_file(f"{target}/{step}.whole")
            self.files.delete_dir(f"{target}/{step}")

    def _whole(self, trial_id: str) -> list[str]:
        infos = self.files.get_file_info(fs.FileSelector(f"{self.root}/{trial_id}", allow_not_found=True))
        return sorted(info.base_name.removesuffix(".whole") for info in infos if info.base_name.endswith(".whole"))

    def _read(self, path: str) -> Experiment | None:
        try:
            with self.files.open_input_stream(path) as file:
                return Experiment.from_record(json.loads(file.read()))
        except (FileNotFoundError, ValueError):  # finished, lost with the machine, or of a variant that is not known
            return None
