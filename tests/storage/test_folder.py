"""Folders of results: files are written, read and copied."""

from pathlib import Path

from darl.storage.folder import ResultsFolder


def test_get_returns_what_put_wrote(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path / "new"), "results")
    folder.prepare("figures")
    assert folder.get("a.txt") is None
    for text in (b"one", b"two"):
        folder.put("a.txt", text)
        assert folder.get("a.txt") == text
    folder.put("figures/b.png", b"picture")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".writing", "a.txt", "figures"]
    assert (folder.files_in(), folder.folders_in()) == (["a.txt"], [".writing", "figures"])
    assert (folder.files_in("figures"), folder.files_in("nowhere")) == (["b.png"], [])
    assert (folder.is_file("a.txt"), folder.is_folder("figures"), folder.is_file("figures")) == (True, True, False)


def test_files_and_folders_are_copied_both_ways(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path / "store"), "results")
    folder.prepare()
    source = tmp_path / "step-1"
    source.mkdir()
    (source / "weights").write_bytes(b"1")
    folder.store(source, "trial/step-1")
    folder.fetch("trial/step-1", tmp_path / "copy")
    assert (tmp_path / "copy" / "weights").read_bytes() == b"1"
    folder.delete_folder("trial")
    assert folder.folders_in() == [".writing"]
