"""Splits and labels of image files, as their folders tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from darl.data.formats.folders import Folders, Parts, SplitLevel, joined, parts_of
from darl.data.found import NAMED, SHOWN, Decision, listed, printable
from darl.data.reading import INNERMOST, NONE, TOP, Reading
from darl.errors import UserError

__all__ = ["LABELS", "SPLITS", "Layout", "Place", "layout_of"]

LABELS, SPLITS = "data_labels", "data_splits"
"""The arguments that decide otherwise, by their names."""


@dataclass(frozen=True)
class Place:
    """What a folder says about the images in it."""

    split: str
    label: str | int | None


@dataclass
class Layout:
    """What the folders of a data set say about the images in them, and how that was decided."""

    places: dict[str, Place] = field(default_factory=dict[str, Place])
    """By folder, for folders whose images are taken."""
    outside: set[str] = field(default_factory=set[str])
    """Folders outside of the splits."""
    levels: dict[Parts, Parts | None] = field(default_factory=dict[Parts, Parts | None])
    """The folder whose folders are the classes, by the folder of the split; None where the split has no classes."""
    found: list[Decision] = field(default_factory=list[Decision])

    @property
    def labelled(self) -> set[str]:
        """The splits whose images have labels."""
        return {place.split for place in self.places.values() if place.label is not None}


def layout_of(folders: Folders, reading: Reading) -> Layout:
    """The layout of a data set's folders. Raises UserError where they are not what the user says."""
    level = _split_level(folders, reading)
    roots = {(): "train"} if level is None else dict(level.folders)
    layout, in_classes = Layout(), level is not None and level.in_classes
    if in_classes:
        layout.levels = {root: root[:-2] for root in roots}
    else:
        layout.levels = _class_levels(folders, roots, reading)
    for folder in folders.own:
        at = ("train", ()) if level is None else level.split_of(folder)
        name = "/".join(folder)
        if at is None:
            layout.outside.add(name)
        elif (place := _place(folder, *at, layout.levels[at[1]], reading)) is not None:
            layout.places[name] = place
    if level is not None:
        layout.found.append(_said_of_splits(folders, level))
    if reading.labels in (None, TOP, INNERMOST, NONE):
        layout.found.append(_said_of_labels(folders, layout, reading, in_classes))
    return layout


def _split_level(folders: Folders, reading: Reading) -> SplitLevel | None:
    if reading.splits is None:
        return folders.split_level()
    if reading.splits == NONE:
        return None
    given = {parts_of(folder): split for folder, split in reading.folders.items()}
    for folder in given:
        if folder not in folders.below:
            known = ", ".join(f"{printable(name)}/" for name in folders.children(()))
            raise UserError(
                f"must name folders that hold images, got {joined(folder)!r} (there are {known or 'no folders'})",
                field=SPLITS,
            )
    return SplitLevel(given)


def _class_levels(folders: Folders, roots: Mapping[Parts, str], reading: Reading) -> dict[Parts, Parts | None]:
    """The folder whose folders are the classes, for each split's folder."""
    if reading.labels == INNERMOST:
        return {root: root for root in roots}
    if reading.labels not in (None, TOP):
        return dict.fromkeys(roots)
    train = [root for root, split in roots.items() if split == "train"]
    levels = {root: _trained_level(folders, root, reading) for root in train}
    classes = {name.lower() for level in levels.values() if level is not None for name in folders.children(level)}
    for root in roots.keys() - levels.keys():
        # of a few images, all may be of one class: then its name tells that the folder is no wrapper
        alike = [
            level for level in folders.wrappers(root) if classes & {name.lower() for name in folders.children(level)}
        ]
        levels[root] = alike[0] if alike else folders.class_level(root)
    return levels


def _trained_level(folders: Folders, root: Parts, reading: Reading) -> Parts | None:
    """The level of classes of a training split. A few images beside class folders are strays; many are not."""
    level = folders.class_level(root)
    if reading.labels == TOP:
        if level is None and not folders.children(root):
            shown = joined(root) or "the data's folder"
            raise UserError(f"must be none or a table where {shown} holds no folders, got {TOP!r}", field=LABELS)
        return root if level is None else level
    if level is None:
        return None
    inside = sum(folders.below[(*level, name)] for name in folders.children(level))
    return level if 2 * inside > folders.below[root] else None


def _place(folder: Parts, split: str, root: Parts, level: Parts | None, reading: Reading) -> Place | None:
    """The place of a folder in a split; None for one that lies beside the class folders."""
    if level is None:
        return Place(split, None)
    if len(folder) <= len(level) or folder[: len(level)] != level:
        return None
    return Place(split, printable(folder[-1] if reading.labels == INNERMOST else folder[len(level)]))


def _said_of_splits(folders: Folders, level: SplitLevel) -> Decision:
    order = {"train": 0, "validation": 1, "test": 2}
    roots = sorted(level.folders, key=lambda root: (order[level.folders[root]], root))
    shown = [printable(joined(root)) for root in roots]
    if level.in_classes:
        names = dict.fromkeys(printable(joined(root[-1:])) for root in roots)
        text = f"splits from folders {listed(names)} in the class folders"
    else:
        text = f"splits from folder{'s' if len(shown) > 1 else ''} {listed(shown)}"
    details = [f"{joined(root)} is {level.folders[root]}: {folders.below[root]:,} images" for root in roots[:SHOWN]]
    return Decision(text, tuple(map(printable, details)), SPLITS)


def _said_of_labels(folders: Folders, layout: Layout, reading: Reading, in_classes: bool) -> Decision:
    """How labels were found in the folders, or that there are none."""
    labels = sorted({str(place.label) for place in layout.places.values() if place.label is not None})
    if not labels:
        return Decision(_unlabelled(folders, layout, reading), field=LABELS)
    level = next(level for level in layout.levels.values() if level is not None)
    count = f"{len(labels):,} folder{'s' if len(labels) > 1 else ''}"
    few = f"folders {listed(f'{label}/' for label in labels)}" if len(labels) <= NAMED else count
    where = f" in {printable(joined(level))}" if level else ""
    if reading.labels == INNERMOST:
        few = f"the innermost {few}"
    elif not in_classes and _branches(folders, level):
        few, where = f"the outermost {few}", f"{where} (they hold folders, too)"
    return Decision(f"labels from {few}{where}", tuple(labels[:SHOWN]), LABELS)


def _unlabelled(folders: Folders, layout: Layout, reading: Reading) -> str:
    if reading.labels is not None:
        return "no labels"
    for root in layout.levels:
        if (level := folders.class_level(root)) is not None:
            inside = sum(folders.below[(*level, name)] for name in folders.children(level))
            beside = folders.below[root] - inside
            return f"no labels: {beside:,} of {folders.below[root]:,} images lie beside the class folders"
    return "no labels: there are no two class folders"


def _branches(folders: Folders, level: Parts) -> bool:
    """Whether most class folders hold no images themselves but several folders of images."""
    inner = [(*level, name) for name in folders.children(level)]
    deep = [each for each in inner if each not in folders.own and len(folders.children(each)) > 1]
    return 2 * len(deep) > len(inner)
