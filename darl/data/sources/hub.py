"""Data sets of Hugging Face's Hub."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from darl.data.decode import Encoded
from darl.data.sources.base import RawLabels, Source, Splits
from darl.errors import UserError

__all__ = ["HubRows", "open_hub"]


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
