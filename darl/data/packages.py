"""Images that other packages bring: scikit-learn's digits, torchvision's data sets, Hugging Face's Hub."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darl.data.decode import Encoded
from darl.data.sources import RawLabels, Source, Splits
from darl.errors import UserError
from darl.variants import require

__all__ = [
    "Digits",
    "HubRows",
    "Items",
    "digit_classes",
    "open_digits",
    "open_hub",
    "open_torchvision",
    "torchvision_class",
]


class Digits(Source):
    """scikit-learn's 1,797 handwritten digits, 8 x 8, levels 0 to 16; of some classes where they are given."""

    def __init__(self, classes: range = range(10)) -> None:
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        self._index = np.flatnonzero(np.isin(digits.target, classes))
        self._pixels = np.rint(digits.images[self._index] * (255 / 16)).astype(np.uint8)
        self.labels = [int(label) for label in digits.target[self._index]]

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, index: int) -> Image.Image:
        """The digit, mode L."""
        return Image.fromarray(self._pixels[index])

    def name(self, index: int) -> str:
        """`digits#index`."""
        return f"digits#{self._index[index]}"


def digit_classes(data: str) -> range | None:
    """The classes of `digits` or `digits:FIRST-LAST`; None for another name. Raises UserError."""
    found = re.fullmatch(r"digits(?::(.*))?", data)
    if found is None or found[1] is None:
        return found and range(10)
    ends = re.fullmatch(r"([0-9])-([0-9])", found[1])
    remedy = "be digits or some of its classes 0 to 9, as digits:0-4"
    require(ends is not None and ends[1] < ends[2], "--data", remedy, data)
    assert ends is not None
    return range(int(ends[1]), int(ends[2]) + 1)


def open_digits(classes: range) -> Splits:
    """The digits of some classes, not split."""
    return Splits(Digits(classes), None)


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


class HubRows(Source):
    """One split of a Hub data set, its images left encoded."""

    def __init__(self, name: str, rows: Any, column: str, label: str | None) -> None:
        self._name = name
        self._rows = rows
        self._column = column
        self.labels: RawLabels = None if label is None else list(rows[label])

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Encoded:
        """The encoded image."""
        image = self._rows[index][self._column]
        return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()

    def name(self, index: int) -> str:
        """`hub:NAME#row`."""
        return f"{self._name}#{index}"


def open_hub(name: str) -> Splits:
    """A data set of Hugging Face's Hub, through its package `datasets` (the extra `hub`)."""
    try:
        hub = importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            f"--data must be an existing path or, with the package datasets, a name on the Hub, got 'hub:{name}': "
            "mend the path or pip install 'darl[hub]'"
        ) from None
    try:
        splits = hub.load_dataset(name)
    except Exception as error:  # the network's, the Hub's and the data set's own
        reason = " ".join(str(error).split())
        raise UserError(
            f"--data must be a data set on the Hub that can be loaded, got 'hub:{name}' ({reason})"
        ) from None
    train_name = next((split for split in ("train", *splits) if split in splits), "train")
    validation_name = next(
        (split for split in ("validation", "val", "valid", "dev", "test") if split in splits and split != train_name),
        None,
    )
    features = splits[train_name].features
    column = next((field for field, feature in features.items() if isinstance(feature, hub.Image)), None)
    if column is None:
        raise UserError(f"--data must have an image column, got 'hub:{name}' with the columns {', '.join(features)}")
    classes = [field for field, feature in features.items() if isinstance(feature, hub.ClassLabel)]
    label = "label" if "label" in features else next(iter(classes), None)

    def rows(split: str) -> HubRows:
        return HubRows(f"hub:{name}", splits[split].cast_column(column, hub.Image(decode=False)), column, label)

    names = tuple(features[label].names) if label in classes else None
    return Splits(rows(train_name), rows(validation_name) if validation_name else None, names)
