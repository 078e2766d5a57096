"""A figure of the report with title and caption, as a file or as part of a page."""

import base64
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from darl.report.figures.style import DARK, applied

__all__ = ["ReportFigure", "save"]


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A figure with title, caption, and alternative text."""

    name: str
    """The name of its file: letters, digits, dashes."""
    title: str
    alt: str
    """The alternative text: what the figure shows, with its numbers."""
    caption: str
    """How to read it."""
    figure: Figure
    heading: str = ""
    """The heading of its findings, if the report has several."""

    @property
    def width(self) -> int:
        """Its width in a page, in CSS pixels."""
        return round(96 * self.figure.get_figwidth())

    @property
    def height(self) -> int:
        """Its height in a page, in CSS pixels."""
        return round(96 * self.figure.get_figheight())

    def svg(self) -> str:
        """The figure as SVG, without background; neutral colours follow the reader's light or dark scheme."""
        buffer = io.StringIO()
        with applied():
            self.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return _themed(buffer.getvalue())

    def address(self) -> str:
        """The SVG as a `data:` address, for an image's `src`."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg().encode()).decode()


def save(figures: Iterable[ReportFigure], folder: str | Path, *, dots: int = 150) -> list[Path]:
    """Write each as NAME.png on a light background, legible on any page. Creates the folder; returns the paths."""
    directory = Path(folder)
    directory.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for drawn in figures:
        paths.append(directory / f"{drawn.name}.png")
        with applied():
            drawn.figure.savefig(paths[-1], dpi=dots)
    return paths


def _themed(svg: str) -> str:
    """The SVG with neutral colours as CSS variables, which have a light and a dark value."""
    names = {light: f"--n{index}" for index, light in enumerate(DARK)}
    for light, name in names.items():
        svg = svg.replace(light, f"var({name})")
    light_rules = ";".join(f"{name}:{light}" for light, name in names.items())
    dark_rules = ";".join(f"{name}:{DARK[light]}" for light, name in names.items())
    style = f"<style>:root{{{light_rules}}}@media (prefers-color-scheme:dark){{:root{{{dark_rules}}}}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + style, svg, count=1)
