"""The folder that an export is written to: it appears whole, and never in place of another."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from darl.errors import UserError, reason
from darl.variants import require

__all__ = ["whole_folder"]

_LAST = "config.json"
"""The file without which nobody reads the folder; in an object store, where files appear one by one, it comes last."""


@contextmanager
def whole_folder(address: str) -> Generator[Path]:
    """An empty folder of this machine to write files into, which becomes `address` if no error is raised within.

    address: a local path, or an address at s3:// or gs://. Raises UserError where it holds something already or cannot
    be written.
    """
    from darl.storage.folder import ResultsFolder  # here, since it imports pyarrow

    folder = ResultsFolder(address, "output")
    with _writing(address):
        is_new = not (folder.is_file() or folder.files_in() or folder.folders_in())
    require(is_new, "output", "be a folder that is new or empty", address)
    target = Path(folder.folder)
    with _writing(address):  # beside the target, so that it can be renamed
        beside = target.parent if folder.local else None
        hidden = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=beside)
    with hidden as parent:
        draft = Path(parent, "draft")
        draft.mkdir()
        yield draft
        with _writing(address):
            if folder.local:
                for path in draft.iterdir():
                    path.chmod(draft.stat().st_mode & 0o666)  # safetensors writes files that nobody else can read
                    _flush(path)
                _flush(draft)
                draft.replace(target)
                with suppress(OSError):  # some network file systems cannot sync a folder; it is there all the same
                    _flush(target.parent)
            else:
                for path in sorted(draft.iterdir(), key=lambda file: file.name == _LAST):
                    folder.store(path, path.name)


@contextmanager
def _writing(address: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        remedy = "be a new folder, in one that exists and can be written"
        raise UserError(f"must {remedy}, got {address!r} ({reason(error)})", field="output") from None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
