"""All files below a folder of this machine: names of any encoding, links followed, circles of links ended.

pyarrow's listing cannot read a name that is no UTF-8, and goes round in circles of links until the system stops it.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG

__all__ = ["HIDDEN", "Walk"]

HIDDEN = (".", "__MACOSX")
"""Beginnings of names that are not data: `.DS_Store`, AppleDouble's `._name`, `__MACOSX` folders of archives."""

MOST_NAMES = 4
"""How many times a folder is read that links lead to. Its files are known by then; more names only repeat them."""

Identity = tuple[int, int]  # device and inode


@dataclass
class Walk:
    """What lies below a folder, by paths relative to it. Hidden files and folders are left out."""

    root: str
    files: list[str] = field(default_factory=list[str])
    sizes: list[int] = field(default_factory=list[int])
    """The files' sizes in bytes."""
    folders: list[str] = field(default_factory=list[str])
    dead: list[str] = field(default_factory=list[str])
    """Links that lead nowhere or back to a folder that they lie in."""
    same: dict[str, str] = field(default_factory=dict[str, str])
    """Where links give a file several paths: each of them → the first without links, or else the first."""

    def __post_init__(self) -> None:
        self._identities = array("Q"), array("Q")
        self._linked = array("Q")  # positions of the files that a link leads to
        self._visits: Counter[Identity] = Counter()
        start = Path(self.root).stat()
        # folders first that no link leads to: their paths are the files' own
        pending, later = deque[_Folder]([("", False, ((start.st_dev, start.st_ino),))]), deque[_Folder]()
        while pending or later:
            folder = pending.popleft() if pending else later.popleft()
            if self._visits[folder[2][-1]] < MOST_NAMES:
                self._visits[folder[2][-1]] += 1
                for below in self._read(*folder):
                    (later if below[1] else pending).append(below)
        self._find_same()

    def _read(self, prefix: str, linked: bool, above: tuple[Identity, ...]) -> list[_Folder]:
        """Adds a folder's files; returns its folders. above: the identities of the folders on the way to it."""
        folders: list[_Folder] = []
        with os.scandir(os.path.join(self.root, prefix)) as entries:  # noqa: PTH118
            for entry in entries:
                if entry.name.startswith(HIDDEN):
                    continue
                path, follows = prefix + entry.name, linked or entry.is_symlink()
                try:
                    status = entry.stat()
                except OSError:  # a link to nothing, or to itself
                    self.dead.append(path)
                    continue
                identity = status.st_dev, status.st_ino
                if S_ISREG(status.st_mode):
                    self._add(path, status.st_size, identity, follows)
                elif S_ISDIR(status.st_mode) and identity in above:
                    self.dead.append(path)
                elif S_ISDIR(status.st_mode):
                    self.folders.append(path)
                    folders.append((f"{path}/", follows, (*above, identity)))
        return sorted(folders)

    def _add(self, path: str, size: int, identity: Identity, linked: bool) -> None:
        if linked:
            self._linked.append(len(self.files))
        self.files.append(path)
        self.sizes.append(size)
        for numbers, number in zip(self._identities, identity, strict=True):
            numbers.append(number)

    def _find_same(self) -> None:
        """Fills `same`. Hard links are files of their own, as they are to those who copy a folder."""
        if not self._linked:
            return
        linked, identities = set(self._linked), list(zip(*self._identities, strict=True))
        own: dict[Identity, list[str]] = {identities[number]: [] for number in linked}
        links: dict[Identity, list[str]] = {identity: [] for identity in own}
        for number, (path, identity) in enumerate(zip(self.files, identities, strict=True)):
            if identity in own:
                (links if number in linked else own)[identity].append(path)
        for identity, names in links.items():
            first = min(own[identity] or names)
            paths = {first, *names}
            self.same |= dict.fromkeys(paths, first) if len(paths) > 1 else {}


_Folder = tuple[str, bool, tuple[Identity, ...]]
