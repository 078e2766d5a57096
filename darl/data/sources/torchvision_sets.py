"""Images that other packages bring: scikit-learn's digits, torchvision's data sets, Hugging Face's Hub."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darl.data.sources.base import Source, Splits
from darl.errors import UserError

__all__ = ["Items", "open_torchvision", "torchvision_class"]

LABELS = ("targets", "labels", "_labels", "y")  # where torchvision's sets keep their labels

TRAIN = ("train", "trainval", "train-standard")  # what they call their splits

VALIDATION = ("val", "valid", "validation", "test")


class Items(Source):
    """One split of a torchvision data set."""

    def __init__(self, name: str, items: Any) -> None:
        self._name = name
        self._items = items
        found = next((getattr(items, field) for field in LABELS if hasattr(items, field)), None)
        if found is None:  # those that keep them nowhere in particular give them with the image
            found = [items[index][1] for index in range(len(items))]
        if np.ndim(np.asarray(found)) == 1:
            self.labels = [int(label) for label in found]

    def __len__(self) -> int:
        return len(self._items)

    def read(self, index: int) -> Image.Image:
        """The image as the data set decodes it."""
        image = self._items[index][0]
        if not isinstance(image, Image.Image):
            raise TypeError(f"{self._name} gives no image but a {type(image).__name__}")
        return image

    def name(self, index: int) -> str:
        """`torchvision:NAME#index`."""
        return f"{self._name}#{index}"


def torchvision_class(name: str) -> type[Any] | None:
    """torchvision's data set of that name, if it has one that can be opened by a folder alone."""
    from torchvision import datasets

    kind = getattr(datasets, name, None) if name in datasets.__all__ else None
    if not inspect.isclass(kind) or kind in (datasets.VisionDataset, datasets.DatasetFolder, datasets.ImageFolder):
        return None
    return kind if "root" in inspect.signature(kind).parameters else None


def open_torchvision(name: str) -> Splits:
    """A torchvision data set below the folder `DARL_DATA_ROOT` (`~/.cache/darl`), downloaded if it is not there."""
    kind = torchvision_class(name)
    assert kind is not None, name
    root = Path(os.environ.get("DARL_DATA_ROOT", "~/.cache/darl")).expanduser()
    options: dict[str, Any] = {"root": str(root)}
    fields = inspect.signature(kind).parameters
    if "download" in fields:
        options["download"] = True
    try:
        root.mkdir(parents=True, exist_ok=True)
        if "train" in fields:
            train, validation = kind(train=True, **options), kind(train=False, **options)
        elif "split" in fields:
            train, validation = _split(kind, TRAIN, options), _split(kind, VALIDATION, options)
        else:
            train, validation = kind(**options), None
    except Exception as error:  # each set has errors of its own for a missing network, file or package
        reason = " ".join(str(error).split())
        raise UserError(
            f"--data must be a torchvision data set that is in or can be downloaded to DARL_DATA_ROOT={root}, "
            f"got 'torchvision:{name}' ({reason})"
        ) from None
    classes = getattr(train, "classes", None)
    names = tuple(map(str, classes)) if isinstance(classes, list) else None
    source = f"torchvision:{name}"
    return Splits(Items(source, train), None if validation is None else Items(source, validation), names)


def _split(kind: type[Any], names: tuple[str, ...], options: dict[str, Any]) -> Any:
    """The first of these splits that the data set knows: an unknown name is its ValueError."""
    for name in names[:-1]:
        try:
            return kind(split=name, **options)
        except ValueError:
            continue
    return kind(split=names[-1], **options)
