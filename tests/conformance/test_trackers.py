"""One contract for every tracker: a class that is defined is in the list by itself.

A library that is not installed is replaced by a stand-in that takes any call.
"""

import importlib.util
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from darl.errors import UserError
from darl.experiment import Experiment
from darl.training.trackers.base import Tracker, check, metrics_of, parameters_of, track
from tests.training.example_trackers import evaluated

TRACKERS = [tracker() for tracker in Tracker.kinds().values()]


@pytest.fixture(params=TRACKERS, ids=str)
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    if importlib.util.find_spec(request.param.library) is None:
        monkeypatch.setitem(sys.modules, request.param.library, MagicMock(name=request.param.library))
    return request.param


def is_recorded(name: str, library: str, folder: Path) -> bool:
    """Whether a call of the stand-in names it, or a file below the folder (or its path) does."""
    if isinstance(stand_in := sys.modules[library], MagicMock):
        return name in str(stand_in.mock_calls)
    return any(name in str(path) or name.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_every_tracker_records_runs_that_overlap_start_again_and_fail(
    tracker: Tracker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow has its local store
    (tracking,) = track([tracker.kind, tracker.kind], "group", str(tmp_path))
    for seed in (0, 1):
        tracking.start(str(seed), f"cell a=0.03, seed {seed}", parameters_of(Experiment(seed=seed)))
    for epoch in (0, 5):
        for key in ("0", "1"):
            tracking.log(key, epoch, metrics_of(evaluated(epoch)) | {"val_loss": float("nan")})
    tracking.start("0", "cell a=0.03, seed 0", parameters_of(Experiment()))
    tracking.finish("0", failed=False)
    tracking.finish("1", failed=True)
    tracking.close()
    assert capsys.readouterr().err == ""
    assert is_recorded("probe_top1", tracker.library, tmp_path)
    assert is_recorded("cell a=0.03, seed 1", tracker.library, tmp_path)


def test_every_tracker_is_refused_where_its_library_is_missing(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, tracker.library, None)
    with pytest.raises(UserError, match=f"pip install {tracker.library}$"):
        check([tracker.kind], str(tmp_path))


def test_every_tracker_says_whether_it_needs_a_folder(tracker: Tracker) -> None:
    if tracker.needs_folder:
        with pytest.raises(UserError, match=f"results must be on a disk for the tracker {tracker.kind}"):
            check([tracker.kind], "s3://x/group")
    else:
        (tracking,) = track([tracker.kind], "group", "s3://x/group")
        tracking.start("a", "a", {})
        tracking.close()
