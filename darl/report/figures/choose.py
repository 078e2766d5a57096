"""The figures of a report: each `draw` returns None if its figure does not suit the sweep's trials."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from darl.report.figures import (
    denoising,
    enlarged,
    importances,
    intervals,
    learning,
    matrix,
    noise_map,
    orders,
    schedules,
)
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import applied

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["headings", "is_ours", "pictures"]

_FIGURES = (
    intervals.draw, noise_map.draw, schedules.draw, orders.draw, importances.draw, enlarged.draw, learning.draw,
    denoising.draw,
)  # fmt: skip
"""The figures in the order of presentation."""

_NAMES = ("cells", "map", "schedules", "orders", "importance", "enlarged", "learning", "denoising", "matrix")


def pictures(findings: "Sequence[Findings]", curves: pd.DataFrame) -> list[ReportFigure]:
    """The figures that the trials suffice for; for a design with several groups the matrix first, then each group's.

    curves: the table `curves`; it may hold other trials, too.
    """
    drawn: list[ReportFigure] = []
    with applied():
        for sweep in {id(finding.sweep): finding.sweep for finding in findings}.values():
            whole = matrix.draw([finding for finding in findings if finding.sweep is sweep])
            drawn += [whole] if whole else []
        for finding, heading in zip(findings, headings(findings), strict=True):
            drawn += [_headed(picture, heading) for draw in _FIGURES if (picture := draw(finding, curves))]
    return drawn


def headings(findings: "Sequence[Findings]") -> list[str]:
    """A distinct heading for each of several findings: a design's group, a search's data; empty for a single one."""
    if len(findings) < 2:
        return ["" for _ in findings]
    names: list[str] = []
    for finding in findings:
        name = finding.sweep.heading(finding.comparison.group)
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


def is_ours(file: str) -> bool:
    """Whether a file of this name may be a picture of an earlier report, and not the user's own."""
    return re.fullmatch(rf"({'|'.join(_NAMES)})(-[a-z0-9-]+)?\.png", file) is not None


def _headed(picture: ReportFigure, heading: str) -> ReportFigure:
    if not heading:
        return picture
    slug = re.sub(r"[^A-Za-z0-9]+", "-", heading).strip("-").lower()
    return replace(picture, name=f"{picture.name}-{slug}", title=f"{picture.title}: {heading}", heading=heading)
