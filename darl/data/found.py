"""What was decided from what was found in the data, as sentences that travel with it.

Labels, splits and images are never lost, mixed or guessed in silence. Whoever decides (a file format, the split of
held-out images, the look at the images' sizes) writes a `Decision`; commands print them as one line before anything
starts, and `darl doctor` with the details.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["NAMED", "SHOWN", "Decision", "listed", "printable"]

NAMED = 3
"""Number of names that a line has at most; where there are more, it has their number."""

SHOWN = 100
"""Number of names that are kept for the details."""


@dataclass(frozen=True)
class Decision:
    """One decision."""

    text: str
    """What was decided, as a part of a sentence: `splits from folders train/ and val/`."""
    details: tuple[str, ...] = ()
    """What it concerns, one by one: the files that were left out, the classes that are empty."""
    field: str = ""
    """The argument that decides otherwise (`data_labels`), by its name, or several (`channels and image_size`); empty
    where there is none."""
    unnamed: bool = False
    """Whether the text has only the number of what the details name."""

    @classmethod
    def about(cls, names: Sequence[str], text: str, field: str = "") -> Decision:
        """A decision about many files or folders, which are named: a few in the text, the first 100 in the details."""
        shown = tuple(map(printable, names[:SHOWN]))
        more = (f"and {len(names) - SHOWN:,} more",) if len(names) > SHOWN else ()
        few = len(names) <= NAMED
        return cls(f"{text}: {', '.join(shown)}" if few else text, (*shown, *more), field, unnamed=not few)


def listed(names: Iterable[str]) -> str:
    """`train/, val/ and test/`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def printable(path: str) -> str:
    """A file's name as text that can be printed and stored: bytes that are no UTF-8 are written `\\xe9`."""
    return os.fsencode(path).decode(errors="backslashreplace")
