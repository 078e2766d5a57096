"""Data sets on Hugging Face's Hub."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darl.data.content import hash_parts
from darl.data.sources.base import RawLabels, Source, Splits
from darl.data.sources.kind import DataKind
from darl.errors import UserError, reason

if TYPE_CHECKING:
    from darl.data.decode import Encoded

__all__ = ["HubImages", "HubSet"]

_SHORT = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class HubImages(Source):
    """One split of a Hub data set, its images left encoded."""

    def __init__(self, name: str, rows: Any, column: str, label: str | None, version: str) -> None:
        self._name = name
        self._rows = rows
        self._version = version
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

    def fingerprint(self) -> str:
        """Hash of the data set's name, the fingerprint that `datasets` gives the split, its length and its labels."""
        return hash_parts([self._name, self._version, len(self), *(self.labels or ())])


class HubSet(DataKind):
    """`hub:OWNER/NAME`, or OWNER/NAME alone, through the package `datasets` (the extra `hub`)."""

    kind: ClassVar[str] = "hub"
    order: ClassVar[int] = 3
    form: ClassVar[str] = "one on the Hub (hub:OWNER/NAME)"

    @classmethod
    def guessed(cls, text: str) -> str | None:
        """`hub:OWNER/NAME` for OWNER/NAME."""
        return f"{cls.kind}:{text}" if _SHORT.fullmatch(text) else None

    @classmethod
    def open(cls, name: str) -> Splits:
        """The data set's splits, by their names; the first image column, and `label` or the first class column."""
        hub, splits = _downloaded(name)
        train = next((split for split in ("train", *splits) if split in splits), "train")
        others = [split for split in ("validation", "val", "valid", "dev") if split in splits]
        validation = next((split for split in others if split != train), None)
        test = "test" if "test" in splits and train != "test" else None
        features = splits[train].features
        column = next((field for field, feature in features.items() if isinstance(feature, hub.Image)), None)
        if column is None:
            raise UserError(
                f"must have an image column, got {name!r} with the columns {', '.join(features)}", field="data"
            )
        classes = [field for field, feature in features.items() if isinstance(feature, hub.ClassLabel)]
        label = "label" if "label" in features else next(iter(classes), None)

        def rows(split: str) -> HubImages:
            encoded = splits[split].cast_column(column, hub.Image(decode=False))
            # a private name of `datasets`, made from the Hub's commit and the split; without it only the labels count
            return HubImages(name, encoded, column, label, version=getattr(splits[split], "_fingerprint", ""))

        names = tuple(features[label].names) if label in classes else None
        others = [rows(split) if split else None for split in (validation, test)]
        return Splits(rows(train), validation=others[0], test=others[1], classes=names)


def _downloaded(name: str) -> tuple[Any, Any]:
    """The package `datasets`, and the data set that it loads for a name; raises UserError."""
    try:
        hub = importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            f"must be an existing path or, with the package datasets, a name on the Hub, got {name!r}: "
            "correct the path or pip install 'darl[hub]'",
            field="data",
        ) from None
    try:
        return hub, hub.load_dataset(name.partition(":")[2])
    except Exception as error:  # the network's, the Hub's and the data set's own
        raise UserError(
            f"must be a data set on the Hub that can be loaded, got {name!r} ({reason(error)})", field="data"
        ) from None
