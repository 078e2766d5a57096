"""Where results lie, and that a part appears whole."""

import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darl.errors import UserError
from darl.results.tables import Results, TableWriteError, load
from tests.results.example_tables import readers, row


class TestPlaces:
    def test_local_paths_are_made_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        results = Results("some/results", "noise")
        assert results.path == f"{tmp_path}/some/results/noise"
        assert results.trials_path == f"{tmp_path}/some/results/noise/trials"
        assert results.curves_path == f"{tmp_path}/some/results/noise/curves"
        assert Results(f"file://{tmp_path}/r", "noise").path == f"{tmp_path}/r/noise"
        assert Results("~/r", "noise").path == str(Path.home() / "r" / "noise")

    def test_nothing_is_made_before_prepare(self, tmp_path: Path):
        Results(str(tmp_path / "r"), "noise")
        assert list(tmp_path.iterdir()) == []

    def test_an_address_keeps_its_query_last(self):
        results = Results("s3://bucket/results/?region=eu-west-1", "noise")
        assert results.path == "s3://bucket/results/noise?region=eu-west-1"
        assert results.trials_path == "s3://bucket/results/noise/trials?region=eu-west-1"

    def test_results_can_be_pickled(self, results: Results):
        pickle.loads(pickle.dumps(results)).add_trial(row())
        assert len(results.trials()) == 1

    @pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "lr=1", "two words"])
    def test_names_that_cannot_be_folders_are_refused(self, tmp_path: Path, name: str):
        with pytest.raises(UserError, match=r"^sweep must start with a letter or digit and hold only "):
            Results(str(tmp_path), name)

    def test_unknown_kinds_of_address_are_refused(self):
        with pytest.raises(UserError, match=r"^results must be a folder, or an address at s3:// or gs://, got 'ftp://"):
            Results("ftp://host/results", "noise")

    @pytest.mark.parametrize("place", ["file/below", "/proc/results", "/dev/null/results"])
    def test_addresses_that_cannot_be_written_are_refused(self, tmp_path: Path, place: str):
        (tmp_path / "file").write_text("")
        root = str(tmp_path / place)
        for begin in (Results(root, "noise").prepare, Results(root, "noise").claimed().__enter__):
            with pytest.raises(UserError) as caught:
                begin()
            text = str(caught.value)
            assert text.startswith(f"results must be a writable folder, got '{root}/noise' (")
            assert text.endswith("); choose another folder or change its permissions")
            assert "\n" not in text

    def test_a_read_only_table_is_refused(self, results: Results, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("curves"))  # root may write anything
        with pytest.raises(UserError, match=r"curves is read-only\); choose another folder"):
            results.prepare()

    def test_old_files_are_dropped_and_no_others(self, results: Results):
        results.prepare()
        for name in ("figures/old.png", "figures/new.png"):
            results.write_file(name, b"x")
        results.delete_files("figures", lambda name: name == "old.png")
        assert [path.name for path in Path(results.path, "figures").iterdir()] == ["new.png"]


class TestWholeness:
    def test_leftovers_of_a_crash_are_deleted(self, results: Results):
        old, new = (Path(results.path, ".writing", name) for name in ("old", "new"))
        for file in (old, new):
            file.write_bytes(b"PAR1 half a ro")
        os.utime(old, (time.time() - 3600,) * 2)
        results.add_trial(row())
        assert {len(frame) for frame in readers(results.trials_path).values()} == {1}
        results.prepare()
        assert not old.exists()
        assert new.exists(), "another process may be writing it"

    def test_a_full_disk_leaves_the_table_as_it_was(self, results: Results, monkeypatch: pytest.MonkeyPatch):
        results.add_trial(row("aa"))

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(TableWriteError) as caught:
            results.add_trial(row("bb"))
        part = f"{results.trials_path}/bb-0.parquet"
        assert str(caught.value) == f"{part} could not be written (No space left on device)"
        assert isinstance(caught.value, OSError)
        assert results.trials()["trial_id"].tolist() == ["aa"]
        assert list(Path(results.path, ".writing").iterdir()) == []

    def test_a_vanished_folder_is_a_write_error(self, results: Results):
        Path(results.trials_path).rmdir()
        with pytest.raises(TableWriteError, match=r"trials/aa-0\.parquet could not be written \(No such file"):
            results.add_trial(row())

    @pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.chaos)])
    def test_a_killed_writer_tears_nothing(self, results: Results, kills: int):
        code = (
            "import itertools, os, sys; from darl.results.tables import Results\n"
            "results = Results(sys.argv[1], 'noise'); print('ready', flush=True)\n"
            "for i in itertools.count():\n"
            "    results.add_trial({'trial_id': f'{os.getpid()}x{i}', 'attempt': 0, 'error': 'x' * 1_000_000})\n"
            "    results.add_curve('aa', 0, [{'epoch': epoch} for epoch in range(i + 1)])\n"
        )
        root = str(Path(results.path).parent)
        count = 0
        for kill in range(kills):
            writer = subprocess.Popen([sys.executable, "-c", code, root], stdout=subprocess.PIPE)
            try:
                assert writer.stdout is not None
                writer.stdout.readline()
                until = time.monotonic() + random.Random(kill).uniform(0.2, 0.4)
                while results.trials().empty or time.monotonic() < until:
                    count = len(results.trials())
            finally:
                writer.kill()
                writer.communicate()
            for frame in readers(results.trials_path).values():
                assert len(frame) >= max(count, 1)
                assert set(frame["error"].str.len()) <= {1_000_000}
            epochs = load(results.curves_path)["epoch"].tolist()
            assert epochs == list(range(len(epochs)))
