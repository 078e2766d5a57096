"""The flags that say which data is read and how, and the line on what was found in it. Light to import."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from darl.variants import require

if TYPE_CHECKING:
    from darl.data import DataContent, Decision
    from darl.data.dataset import OpenedData

__all__ = ["add_data_flags", "located", "open_and_say", "require_left", "require_one_set", "say_found"]


def add_data_flags(add: Callable[..., Any]) -> None:
    """Add the flags that say how files are read. add: `add_argument` of a parser or a group."""
    add(
        "--labels",
        metavar="FILE",
        help="labels of image files: a table (CSV) with a file and a label column (FILE:COLUMN,COLUMN says which); or "
        "top, innermost (which folder is the class) or none (default: class folders, if there are any)",
    )
    add(
        "--splits",
        metavar="FOLDERS",
        help="folders of the splits below --data, as train=A,validation=B,test=C, or none: folders like train/ are no "
        "splits (default: by the folders' names)",
    )


def located(flags: argparse.Namespace, data: str | None, usual: str = "") -> str:
    """The canonical name of data, read as the flags say. Raises UserError.

    usual: the canonical name where `data` is None.
    """
    from darl.data import locate
    from darl.data.locate import read_as
    from darl.data.reading import Reading

    reads = Reading(labels=flags.labels, splits=flags.splits)
    if data is None:
        return read_as(usual, reads)
    return read_as(locate(data), reads)


def require_left(flags: argparse.Namespace, data: str) -> None:
    """Raise UserError where the flags are given with data that has labels and splits of its own."""
    for field, value in (("data_labels", flags.labels), ("data_splits", flags.splits)):
        require(value is None, field, f"be left out: {data} has its own", value)


def require_one_set(flags: argparse.Namespace, data_sets: Sequence[str]) -> None:
    """Raise UserError where the flags of one data set are given with several."""
    for field, value in (("data_labels", flags.labels), ("data_splits", flags.splits)):
        own = field.removeprefix("data_")
        remedy = f"be left out with several data sets: each has its own in its name, as DATA#{own}=…"
        require(value is None or len(data_sets) < 2, field, remedy, value)


def open_and_say(name: str, *, image_size: int, channels: int) -> "OpenedData":
    """The splits of data of a canonical name; the line on what was found is printed. Raises UserError."""
    from darl.data.dataset import open_data

    opened = open_data(name).looked_at(name, image_size=image_size, channels=channels)
    print(say_found(name, opened.content, opened.found), flush=True)
    return opened


def say_found(name: str, content: "DataContent", found: "Sequence[Decision]") -> str:
    """One line: the numbers of images and classes, how they were found, and what was left out."""
    images = content.images if content.classes is None else f"{content.images} of {content.classes:,} classes"
    where = [f"names: darl doctor --data {shlex.quote(name)}"] if any(each.unnamed for each in found) else []
    return f"data: {'; '.join([images, *(each.text for each in found), *where])}"
