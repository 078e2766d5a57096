"""How pictures look: colours, marks and type, the same in all of them.

Categories have Okabe and Ito's colours (2008), told apart with any kind of colour vision, and marks and dashes beside
them; values have cividis, which orders them by lightness. The four neutral colours are names for what they mean: a
picture in a web page takes them from light or dark, as the reader has it.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

__all__ = [
    "DARK",
    "FAINT",
    "GROUND",
    "INK",
    "LOOKS",
    "MUTED",
    "VALUES",
    "Look",
    "applied",
    "new_figure",
    "plain_log",
    "wrapped",
]

INK, MUTED, FAINT, GROUND = "#1b1d21", "#646a73", "#d5d8dd", "#fefefd"
"""Text and axes; what stays behind; grid lines; the ground."""

DARK = {INK: "#e8eaed", MUTED: "#a3a9b2", FAINT: "#3c4149", GROUND: "#17191c"}
"""The same on a dark ground."""

VALUES = "cividis"

BLUE, VERMILLION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"

PURPLE, SKY, OLIVE = "#cc79a7", "#56b4e9", "#8f8a00"  # their yellow, darkened until it is seen on white


@dataclass(frozen=True)
class Look:
    """A colour, a mark, and a line's dashes."""

    color: str
    marker: str = "o"
    dashes: Any = "-"

    @property
    def line(self) -> dict[str, Any]:
        """For `Axes.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dashes}


LOOKS = (
    Look(BLUE, "o"), Look(VERMILLION, "s"), Look(GREEN, "^"), Look(ORANGE, "D"),
    Look(PURPLE, "v"), Look(SKY, "<"), Look(OLIVE, ">"), Look(INK, "h"),
)  # fmt: skip
"""By index; beyond them they come again with other dashes."""

_RC: Any = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 10.5, "axes.labelsize": 10, "legend.fontsize": 9,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "grid.color": FAINT,
    "grid.linewidth": 0.8, "axes.facecolor": "none", "figure.facecolor": GROUND, "axes.spines.top": False,
    "axes.spines.right": False, "axes.axisbelow": True, "axes.titlelocation": "left", "legend.frameon": False,
    "lines.linewidth": 1.8, "lines.markersize": 6, "svg.hashsalt": "darl", "svg.fonttype": "path",
    "axes.unicode_minus": True, "hatch.color": MUTED, "hatch.linewidth": 0.6,
}  # fmt: skip


@contextmanager
def applied() -> Iterator[None]:
    """This style, while drawing and while saving."""
    with matplotlib.rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; in a page it is shown at 96 pixels an inch, on a phone at no less than 75."""
    return Figure(figsize=(width, height), layout="constrained")


def plain_log(axes: Axes, which: str = "xy") -> None:
    """Logarithmic axes with ticks in plain numbers: 0.01, 0.1, 1."""
    for name in which:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda _, __: ""))


def wrapped(label: str, width: int = 26) -> str:
    """A label in lines: a cell's may tell four settings."""
    return textwrap.fill(label, width, break_long_words=False, break_on_hyphens=False)
