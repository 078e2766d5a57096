"""The tree of folders that hold images, and which of its levels are splits and which are classes.

Only folders are looked at, not the files in them: of a million files in a thousand folders, a thousand names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from darl.data.formats.split_names import split_folders

__all__ = ["Folders", "Parts", "SplitLevel", "joined", "parts_of"]

Parts = tuple[str, ...]
"""A folder's path in parts; empty for the data's own folder."""

WRAPPERS = {"images", "image", "imgs", "img", "data", "jpegimages", "pictures", "photos"}
"""Names of folders that hold the images where others beside them hold what is said about the images, in lower case."""

ANNOTATIONS = {"annotations", "annotation", "masks", "mask", "labels", "label", "segmentation", "segmentations",
               "segmentationclass", "segmentationobject", "trimaps", "ground_truth", "groundtruth", "gt", "meta",
               "metadata", "docs"}  # fmt: skip
"""Names of folders with what is said about images, possibly as images, in lower case."""


def parts_of(path: str) -> Parts:
    """The parts of a folder's path."""
    return tuple(path.split("/")) if path else ()


def joined(parts: Parts) -> str:
    """The folder as a path with a slash at its end; empty for the data's own folder."""
    return "".join(f"{part}/" for part in parts)


@dataclass(frozen=True)
class SplitLevel:
    """Folders that are splits."""

    folders: Mapping[Parts, str]
    """The split of each of them."""
    in_classes: bool = False
    """Whether they lie in the class folders (`cat/train/0.png`)."""

    def split_of(self, folder: Parts) -> tuple[str, Parts] | None:
        """The split that a folder belongs to, and the split's own folder; None for a folder outside of the splits."""
        own = next((start for size in range(len(folder) + 1) if (start := folder[:size]) in self.folders), None)
        return None if own is None else (self.folders[own], own)


class Folders:
    """Folders that hold images, in themselves or below."""

    def __init__(self, folders: Iterable[str]) -> None:
        """folders: that of each image."""
        self.own = {parts_of(folder): count for folder, count in Counter(folders).items()}
        """Number of images directly in a folder."""
        self.below: Counter[Parts] = Counter()
        """Number of images in a folder and below."""
        self._children: dict[Parts, set[str]] = {}
        for parts, count in self.own.items():
            for size in range(len(parts) + 1):
                self.below[parts[:size]] += count
                if size < len(parts):
                    self._children.setdefault(parts[:size], set()).add(parts[size])

    def children(self, folder: Parts) -> list[str]:
        """Names of the folders directly in a folder."""
        return sorted(self._children.get(folder, ()))

    def wrapped(self, folder: Parts) -> Parts | None:
        """The folder that holds all images of a folder: a lone one, or `images/` beside annotations; None for none."""
        names = self.children(folder)
        if len(names) > 1:
            images = [name for name in names if name.lower() in WRAPPERS]
            others = [name for name in names if name.lower() in ANNOTATIONS]
            names = images if len(images) == 1 and len(images) + len(others) == len(names) else []
        return (*folder, *names) if len(names) == 1 else None

    def split_level(self, folder: Parts = ()) -> SplitLevel | None:
        """The level of splits at or below a folder: in wrappers, and in class folders that all hold splits."""
        names = self.children(folder)
        inner = self.wrapped(folder)
        # a lone `train/` is a split, but not where it holds `train/` and `val/`
        below = None if inner is None else self.split_level(inner)
        if below is not None and len(set(below.folders.values())) > 1:
            return below
        named = split_folders(names)
        if named:
            return SplitLevel({(*folder, name): split for name, split in named.items()})
        return below or self._splits_in_classes(folder, names)

    def _splits_in_classes(self, folder: Parts, names: list[str]) -> SplitLevel | None:
        if len(names) < 2 or folder in self.own:
            return None
        found: dict[Parts, str] = {}
        for name in names:
            own = (*folder, name)
            inner = self.children(own)
            named = split_folders(inner)
            if own in self.own or not named or len(named) < len(inner):
                return None
            found |= {(*own, split): named[split] for split in named}
        return SplitLevel(found, in_classes=True) if len(set(found.values())) > 1 else None

    def class_level(self, folder: Parts) -> Parts | None:
        """The folder whose folders are the classes, at or below a folder; None where there are no two classes."""
        inner: Parts | None = folder
        while inner is not None:
            level, inner = inner, self.wrapped(inner)
            if inner is None and len(self.children(level)) > 1:
                return level
        return None

    def wrappers(self, folder: Parts) -> list[Parts]:
        """The folder, and those that wrap all that is in it, from the outside."""
        levels: list[Parts] = [folder]
        while (inner := self.wrapped(levels[-1])) is not None:
            levels.append(inner)
        return levels
