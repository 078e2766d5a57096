"""Which split each image file belongs to, and its label: by its folder, by a table, and each real file once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from darl.data.formats.folders import ANNOTATIONS, Folders, joined, parts_of
from darl.data.formats.label_file import LabelFile
from darl.data.formats.layout import LABELS, SPLITS, Layout, Place
from darl.data.formats.listing import Listing
from darl.data.found import Decision, printable
from darl.errors import UserError

__all__ = ["by_folder", "by_table", "each_once", "empty_folders"]

Placed = tuple[list[Place | None], list[Decision]]
"""The place of each file, None for one that is left out; and what was decided."""


def by_folder(files: Listing, layout: Layout) -> Placed:
    """The places that the folders give."""
    folders = [path.rpartition("/")[0] for path in files.paths]
    places = [layout.places.get(folder) for folder in folders]
    outside = [path for path, folder in zip(files.paths, folders, strict=True) if folder in layout.outside]
    strays = [
        path
        for path, folder, place in zip(files.paths, folders, places, strict=True)
        if place is None and folder not in layout.outside
    ]
    found = [
        *_left_out(outside, "outside of the splits", SPLITS),
        *_left_out(strays, "outside of the class folders", LABELS),
    ]
    return places, found


def _left_out(paths: list[str], why: str, field: str) -> list[Decision]:
    count = f"{len(paths):,} image{'s' if len(paths) > 1 else ''}"
    return [Decision.about(paths, f"{count} {why} left out", field)] if paths else []


def empty_folders(files: Listing, folders: Folders, layout: Layout) -> list[Decision]:
    """Folders without images where there are folders of splits or classes. files: also those that are not images."""
    parents = {root if level is None else level for root, level in layout.levels.items()}
    parents |= {root[:-1] for root in layout.levels if root}
    empty = [
        joined(parts)
        for parts in map(parts_of, sorted(files.folders))
        if parts[:-1] in parents and parts not in folders.below and parts[-1].lower() not in ANNOTATIONS
    ]
    count = f"{len(empty):,} folder{'s' if len(empty) > 1 else ''}"
    return [Decision.about(empty, f"{count} empty of images")] if empty else []


def by_table(files: Listing, places: Sequence[Place | None], table: LabelFile, splits: Iterable[str]) -> Placed:
    """The places with the labels of a table, for the images of some splits; raises UserError where it fits none.

    A split of which the table has no image stays without labels; of others, images that it lacks are left out.
    """
    splits, root = set(splits), files.root.rpartition("/")[2]
    names = [
        table.name_of(path, root) if place is not None and place.split in splits else None
        for path, place in zip(files.paths, places, strict=True)
    ]
    _forget_other_splits(files, names, places)
    labelled = {
        place.split for name, place in zip(names, places, strict=True) if name is not None and place is not None
    }
    if not labelled:
        some = printable(next(iter(table.labels)))
        raise UserError(
            f"must be a table that names images of {files.root!r}, got {table.path!r} with {some!r} and others that "
            "are none of its files",
            field=LABELS,
        )
    numbers = all(re.fullmatch(r"-?\d+", label) for label in table.labels.values())
    result, lacking = list(places), list[str]()
    for number, (name, place) in enumerate(zip(names, places, strict=True)):
        if place is None or place.split not in labelled:
            continue
        if name is None:
            lacking.append(files.paths[number])
        label = None if name is None else table.labels[name]
        result[number] = None if label is None else Place(place.split, int(label) if numbers else label)
    unused = sorted(table.labels.keys() - set(names))
    found = [Decision(f"labels from {printable(table.path)}", field=LABELS)]
    found += _left_out(lacking, "without a row in that table", LABELS)
    if unused:
        rows = f"{len(unused):,} row{'s' if len(unused) > 1 else ''} of that table"
        found.append(Decision.about(unused, f"{rows} about no image that was found", LABELS))
    return result, found


def _forget_other_splits(files: Listing, names: list[str | None], places: Sequence[Place | None]) -> None:
    """Makes names clear that fit images of several splits: `0.png` of `train/` and of `test/`.

    They mean the split of which the table names all images. Raises UserError where that does not tell.
    """
    users: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        if name is not None:
            users.setdefault(name, []).append(number)
    shared = [numbers for numbers in users.values() if len({_split(places[number]) for number in numbers}) > 1]
    if shared:
        missing = {_split(place) for name, place in zip(names, places, strict=True) if name is None}
        for number, place in enumerate(places):
            if _split(place) in missing:
                names[number] = None
    for name, numbers in users.items():
        kept = {files.same.get(files.paths[number], files.paths[number]) for number in numbers if names[number]}
        if len(kept) > 1:
            raise UserError(
                f"must name each image by its path, got {printable(name)!r} for {_shown(sorted(kept)[:2], ' and ')}",
                field=LABELS,
            )


def _split(place: Place | None) -> str:
    return "" if place is None else place.split


def each_once(files: Listing, places: Sequence[Place | None]) -> Placed:
    """The places with one path for each real file: that without links, else the first.

    Raises UserError where a file has two labels or lies in two splits.
    """
    result, groups = list(places), dict[str, list[int]]()
    for number, path in enumerate(files.paths if files.same else ()):
        if path in files.same and places[number] is not None:
            groups.setdefault(files.same[path], []).append(number)
    dropped: list[str] = []
    for own, numbers in groups.items():
        first = next((number for number in numbers if files.paths[number] == own), numbers[0])
        for number in numbers:
            if places[number] != places[first]:
                _refuse(files.paths[first], files.paths[number], _split(places[first]) == _split(places[number]))
            if number != first:
                dropped.append(files.paths[number])
                result[number] = None
    links = f"{len(dropped):,} link{'s' if len(dropped) > 1 else ''} to images that are taken already"
    return result, [Decision.about(dropped, f"{links} left out")] if dropped else []


def _refuse(path: str, other: str, of_one_split: bool) -> None:
    what = "class" if of_one_split else "split"
    raise UserError(
        f"must have each image in one {what}, got {_shown([path, other], ' and ')}, which are one file: remove one of "
        "them",
        field="data",
    )


def _shown(paths: Sequence[str], between: str) -> str:
    return between.join(repr(printable(path)) for path in paths)
