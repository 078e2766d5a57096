"""torchvision's data sets."""

from __future__ import annotations

import inspect
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from darl.data.content import hash_parts
from darl.data.sources.base import Source, Splits
from darl.data.sources.kind import DataKind
from darl.errors import UserError, reason
from darl.variants import require

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Items", "TorchvisionSet"]

LABELS = ("targets", "labels", "_labels", "y")  # where torchvision's sets keep their labels

TRAIN = ("train", "trainval", "train-standard")  # names of their splits

VALIDATION = ("val", "valid", "validation")


class Items(Source):
    """One split of a torchvision data set."""

    def __init__(self, name: str, items: Any) -> None:
        self._name = name
        self._items = items
        labels = next((getattr(items, field) for field in LABELS if hasattr(items, field)), None)
        if labels is None:  # sets without such an attribute give the label with the image
            labels = [items[index][1] for index in range(len(items))]
        if np.ndim(np.asarray(labels)) == 1:
            self.labels = [int(label) for label in labels]

    def __len__(self) -> int:
        return len(self._items)

    def read(self, index: int) -> Image.Image:
        """The image as the data set decodes it."""
        from PIL import Image

        image = self._items[index][0]
        if not isinstance(image, Image.Image):
            raise TypeError(f"{self._name} gives no image but a {type(image).__name__}")
        return image

    def name(self, index: int) -> str:
        """`torchvision:NAME#index`."""
        return f"{self._name}#{index}"

    def fingerprint(self) -> str:
        """Hash of the data set's name, its length and its labels."""
        return hash_parts([self._name, len(self), *(self.labels or ())])


class TorchvisionSet(DataKind):
    """`torchvision:NAME`, or NAME alone."""

    kind: ClassVar[str] = "torchvision"
    order: ClassVar[int] = 2
    form: ClassVar[str] = "a torchvision data set (torchvision:NAME)"

    @classmethod
    def named(cls, text: str) -> str | None:
        """`torchvision:NAME`, unchanged; raises UserError where torchvision has no such data set."""
        kind, _, name = text.partition(":")
        if kind != cls.kind:
            return None
        require(_class(name) is not None, "data", "name a data set of torchvision.datasets", text)
        return text

    @classmethod
    def guessed(cls, text: str) -> str | None:
        """`torchvision:NAME` for NAME, if torchvision has such a data set."""
        return f"{cls.kind}:{text}" if text.isidentifier() and _class(text) is not None else None

    @classmethod
    def open(cls, name: str) -> Splits:
        """A data set in the folder `DARL_DATA_ROOT` (`~/.cache/darl`), downloaded if it is not there."""
        kind = _class(name.partition(":")[2])
        assert kind is not None, name
        root = Path(os.environ.get("DARL_DATA_ROOT", "~/.cache/darl")).expanduser()
        try:
            root.mkdir(parents=True, exist_ok=True)
            train, validation, test = _splits(kind, root)
        except Exception as error:  # each set has errors of its own for a missing network, file or package
            raise UserError(
                f"must be a torchvision data set that is in or can be downloaded to DARL_DATA_ROOT={root}, "
                f"got {name!r} ({reason(error)})",
                field="data",
            ) from None
        classes = getattr(train, "classes", None)
        names = tuple(map(str, classes)) if isinstance(classes, list) else None
        others = [None if items is None else Items(name, items) for items in (validation, test)]
        return Splits(Items(name, train), validation=others[0], test=others[1], classes=names)


def _class(name: str) -> type[Any] | None:
    """torchvision's data set of that name, if it can be opened with no argument but a folder; else None."""
    from torchvision import datasets

    kind = getattr(datasets, name, None) if name in datasets.__all__ else None
    if not inspect.isclass(kind) or kind in (datasets.VisionDataset, datasets.DatasetFolder, datasets.ImageFolder):
        return None
    return kind if "root" in inspect.signature(kind).parameters else None


def _splits(kind: type[Any], root: Path) -> tuple[Any, Any | None, Any | None]:
    """torchvision's objects for training, validation and test; a test split is opened only where it is needed."""
    fields = inspect.signature(kind).parameters
    options: dict[str, Any] = {"root": str(root)} | ({"download": True} if "download" in fields else {})
    if "train" in fields:
        return kind(train=True, **options), None, kind(train=False, **options)  # torchvision's `train=False` is `test`
    if "split" in fields:
        train, validation = _split(kind, TRAIN, options), _split(kind, VALIDATION, options)
        if train is None:
            raise ValueError(f"it has none of the splits {', '.join(TRAIN)}")
        return train, validation, None if validation is not None else kind(split="test", **options)
    return kind(**options), None, None


def _split(kind: type[Any], names: tuple[str, ...], options: dict[str, Any]) -> Any | None:
    """The first of these splits that the data set has, if any; torchvision raises ValueError for an unknown name."""
    for name in names:
        with suppress(ValueError):
            return kind(split=name, **options)
    return None
