"""How files are to be read, where the user says so: as a part of the data's name.

`/photos#labels=/photos/labels.csv&splits=none` is `/photos` with the labels of that file and with no splits. Since it
is a part of the name, it goes wherever the name goes: into records and checkpoints, so that `darl evaluate RUN` finds
the labels that the run was trained with. (It is no part of a trial's id, which holds the data's content.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from urllib.parse import quote, unquote

from darl.errors import UserError
from darl.storage.address import normalized
from darl.variants import require

__all__ = ["INNERMOST", "NONE", "TOP", "Reading"]

TOP, INNERMOST, NONE = "top", "innermost", "none"
"""Words for `Reading.labels`: the outermost folder of a split is the class, the innermost is, or there are no labels.

`none` is also a word for `Reading.splits`: folders named like splits are no splits.
"""

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}

_FRAGMENT = re.compile(r"#(?=(?:labels|splits)=)")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user says about labels and splits; None where it is left to what is found."""

    labels: str | None = None
    """`top`, `innermost`, `none`, or a table with file and label columns: its path or address."""
    splits: str | None = None
    """`none`, or the splits' folders: `train=FOLDER,validation=FOLDER,test=FOLDER`."""

    @classmethod
    def of(cls, name: str) -> tuple[str, Reading]:
        """The address in a data set's name, and the rest of the name. Raises UserError for an unknown key."""
        address, *fragment = _FRAGMENT.split(name, maxsplit=1)
        if not fragment:
            return name, cls()
        pairs = [part.partition("=") for part in fragment[0].split("&")]
        values = {key: unquote(value) for key, _, value in pairs}
        known = [field.name for field in fields(cls)]
        for key in values:
            require(key in known, "data", f"say {' or '.join(f'{key}=' for key in known)} after #", name)
        return address, cls(**values).normalized()

    def normalized(self) -> Reading:
        """The one spelling: the path of a table is absolute."""
        if self.labels is None or self.labels in (TOP, INNERMOST, NONE):
            return self
        return Reading(labels=normalized(self.labels), splits=self.splits)

    def over(self, other: Reading) -> Reading:
        """This one, and the other where this one says nothing."""
        return Reading(labels=self.labels or other.labels, splits=self.splits or other.splits)

    def named(self, address: str) -> str:
        """The name of the data at an address when it is read so: the inverse of `of`."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        parts = [f"{key}={quote(value, safe=_SAFE)}" for key, value in said.items() if value is not None]
        return address + (f"#{'&'.join(parts)}" if parts else "")

    @property
    def folders(self) -> dict[str, str]:
        """The split of each folder that `splits` names. Raises UserError."""
        named: dict[str, str] = {}
        for part in (self.splits or "").split(","):
            split, _, folder = (text.strip() for text in part.partition("="))
            folder = folder.removeprefix("./").rstrip("/")
            if split not in SPLITS or not folder or folder in named:
                raise UserError(
                    "must be none or the splits' folders below the data's, each once, as "
                    f"train=FOLDER,validation=FOLDER,test=FOLDER, got {self.splits!r}",
                    field="data_splits",
                )
            named[folder] = SPLITS[split]
        require("train" in named.values(), "data_splits", "name a folder to train on: train=FOLDER", self.splits)
        return named


_SAFE = "/:=,. -_~?*[]()+@"  # all that can be told from the marks `#`, `&` and `%`
