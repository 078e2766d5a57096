"""Classification tasks made of torchvision's data sets: their splits, and labels that torchvision does not give.

The labels of CLEVR and KITTI are those of VTAB (google-research/task_adaptation, `data/clevr.py`, `data/kitti.py`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darl.data.sources.base import Source, Splits
from darl.errors import UserError, one_line

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["TorchvisionTask", "clevr_count", "clevr_distance", "kitti_distance", "open_torchvision"]

Label = Callable[[Any], Callable[[int], int]]
"""From a torchvision data set to a function that gives the label of an image by its index."""

CLEVR_BOUNDS = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
"""Between two of these lies each class of the distance to the closest object, in CLEVR's pixel coordinates."""

KITTI_BOUNDS = (-100.0, 8.0, 20.0, 999.0)
"""From each of these on lies a class of the distance to the closest vehicle, in metres; the last: there is none."""

VEHICLES = ("Car", "Van", "Truck")

NO_VEHICLE = 1000.0


def stored_label(items: Any) -> Callable[[int], int]:
    """The label that torchvision's set gives with an image."""
    for name in ("targets", "labels", "_labels", "y"):  # read without decoding, where the set keeps them
        labels = getattr(items, name, None)
        if labels is not None and len(labels) and np.ndim(labels[0]) == 0:
            return lambda index: int(labels[index])
    return lambda index: int(items[index][1])


def clevr_count(items: Any) -> Callable[[int], int]:
    """The number of objects, 3 to 10, as classes 0 to 7."""
    return lambda index: int(items._labels[index]) - 3


def clevr_distance(items: Any) -> Callable[[int], int]:
    """In which of six ranges the distance of the closest object lies."""
    scenes = json.loads((items._data_folder / "scenes" / f"CLEVR_{items._split}_scenes.json").read_text())["scenes"]
    closest = {scene["image_filename"]: min(thing["pixel_coords"][2] for thing in scene["objects"]) for scene in scenes}
    return lambda index: _range(CLEVR_BOUNDS, closest[items._image_files[index].name])


def kitti_distance(items: Any) -> Callable[[int], int]:
    """In which of three ranges the distance of the closest car, van or truck lies; 3 where there is none."""

    def label(index: int) -> int:
        image, things = items[index]
        image.close()
        return _range(
            KITTI_BOUNDS,
            min([thing["location"][2] for thing in things if thing["type"] in VEHICLES], default=NO_VEHICLE),
        )

    return label


def _range(bounds: Sequence[float], value: float) -> int:
    """The last of the bounds that the value is above."""
    return int(np.flatnonzero(np.array(bounds) < value).max(initial=0))


@dataclass(frozen=True)
class TorchvisionTask:
    """A data set of torchvision and the names of its splits; None for one that it lacks."""

    name: str
    """Its class in `torchvision.datasets`."""
    train: str = "train"
    """Sets without named splits are one split: this one."""
    validation: str | None = None
    test: str | None = None
    label: Label = stored_label


class TaskImages(Source):
    """One split of a torchvision data set, with a task's labels, which are found out one by one as they are asked."""

    def __init__(self, name: str, items: Any, label: Label) -> None:
        self._name = name
        self._items = items
        self.labels = _Labels(label(items), len(items))

    def __getstate__(self) -> dict[str, Any]:
        """Without labels, which loader workers do not read: their functions cannot be pickled."""
        return {**self.__dict__, "labels": None}

    def __len__(self) -> int:
        return len(self._items)

    def read(self, index: int) -> Image.Image:
        """The image as the data set decodes it."""
        return self._items[index][0]

    def name(self, index: int) -> str:
        """`torchvision:NAME#index`."""
        return f"{self._name}#{index}"


class _Labels(Sequence[int]):
    """Labels that are computed when they are read: those of a thousand images of millions are."""

    def __init__(self, label: Callable[[int], int], count: int) -> None:
        self._label = label
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._label(each) for each in range(self._count)[index]]
        if index >= self._count:
            raise IndexError(index)
        return self._label(int(index))


def open_torchvision(task: TorchvisionTask, root: Path) -> Splits:
    """The splits in the folder `root`, downloaded where they are not there. Raises UserError."""
    from torchvision import datasets

    kind = getattr(datasets, task.name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        opened = [_split(kind, root, split) for split in (task.train, task.validation, task.test)]
        name = f"torchvision:{task.name}"
        train, validation, test = (None if items is None else TaskImages(name, items, task.label) for items in opened)
    except Exception as error:  # each set has errors of its own for a missing network, file or package
        raise UserError(f"is not in {root} and cannot be downloaded ({one_line(error)})", field="data") from None
    assert train is not None
    return Splits(train, validation, test)


def _split(kind: type[Any], root: Path, split: str | None) -> Any | None:
    """torchvision's object for a split, from disk where it is there, else downloaded."""
    if split is None:
        return None
    fields = inspect.signature(kind).parameters
    options: dict[str, Any] = {"root": str(root)}
    if "train" in fields:
        options["train"] = split == "train"
    elif "split" in fields:
        options["split"] = split
    try:
        return kind(**options)
    except Exception:  # each set has an error of its own for data that is not there
        return kind(download=True, **options)
