"""The style of all figures: colours, marks and type.

Categories have Okabe and Ito's colours (2008), which can be distinguished with any kind of colour vision, and also
marks and dashes; values have the colour map cividis, which orders them by lightness. The four neutral colours are named
by their purpose: in a web page they follow the reader's light or dark scheme.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
"""The colours of text and axes, of secondary marks, of grid lines, and of the background."""

DARK = {INK: "#e8eaed", MUTED: "#a3a9b2", FAINT: "#3c4149", GROUND: "#17191c"}
"""The same colours on a dark background."""

VALUES = "cividis"

BLUE, VERMILLION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"

PURPLE, SKY, OLIVE = "#cc79a7", "#56b4e9", "#8f8a00"  # Okabe and Ito's yellow, darkened to be visible on white


@dataclass(frozen=True)
class Look:
    """A colour, a mark, and a line's dashes."""

    color: str
    marker: str = "o"
    dashes: Any = "-"

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dashes}


LOOKS = (
    Look(BLUE, "o"), Look(VERMILLION, "s"), Look(GREEN, "^"), Look(ORANGE, "D"),
    Look(PURPLE, "v"), Look(SKY, "<"), Look(OLIVE, ">"), Look(INK, "h"),
)  # fmt: skip
"""Looks by index; they repeat with other dashes."""

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
    """Apply this style, for drawing and for saving."""
    with matplotlib.rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; a page shows it at 96 pixels per inch, on a phone at 75 or more."""
    return Figure(figsize=(width, height), layout="constrained")


def plain_log(axes: Axes, which: str = "xy") -> None:
    """Make axes logarithmic, with ticks in plain numbers: 0.01, 0.1, 1; also 0.2 and 0.5 on a short axis."""
    for name in which:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(partial(_minor_label, axis)))


def _minor_label(axis: Any, value: float, _: int) -> str:
    """The label of a minor tick: only 2 and 5 times a power of ten, and only where the axis spans less than 30 fold."""
    low, high = sorted(axis.get_view_interval())
    return f"{value:g}" if high < 30 * low and f"{value:e}"[0] in "25" else ""


def wrapped(label: str, width: int = 26) -> str:
    """A label broken into lines, since the label of a cell may name four settings."""
    return textwrap.fill(label, width, break_long_words=False, break_on_hyphens=False)
