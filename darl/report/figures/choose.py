"""The figures of a report: each `draw` returns None if its figure does not suit the sweep's trials."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from typing import TYPE_CHECKING, Protocol

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
    protocols,
    scaling,
    schedules,
    sequence,
)
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import applied

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["FIGURE_MODULES", "draw_all", "headings", "is_ours"]


class FigureModule(Protocol):
    """A module of this package that draws one kind of figure."""

    NAME: str
    """The name of its figures' files."""

    def draw(self, findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
        """The figure; None if it does not suit the sweep's trials."""


FIGURE_MODULES: Sequence[FigureModule] = (
    scaling, intervals, protocols, noise_map, schedules, orders, sequence, importances, enlarged, learning, denoising,
)  # fmt: skip
"""The figures of one of the findings, in the order of presentation; `matrix` shows several findings in one figure."""


def draw_all(findings: "Sequence[Findings]", curves: pd.DataFrame) -> list[ReportFigure]:
    """The figures that the trials suffice for; for a design with several groups the matrix first, then each group's.

    curves: the table `curves`; it may hold other trials, too.
    """
    drawn: list[ReportFigure] = []
    with applied():
        for sweep in {id(finding.sweep): finding.sweep for finding in findings}.values():
            whole = matrix.draw([finding for finding in findings if finding.sweep is sweep])
            drawn += [whole] if whole else []
        titles = headings(findings)
        for finding, heading, slug in zip(findings, titles, _slugs(titles), strict=True):
            figures = [module.draw(finding, curves) for module in FIGURE_MODULES]
            drawn += [_headed(figure, heading, slug) for figure in figures if figure]
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
    """Whether a file of this name may be a figure of an earlier report, and not the user's own."""
    names = "|".join(module.NAME for module in (*FIGURE_MODULES, matrix))
    return re.fullmatch(rf"({names})(-[a-z0-9-]+)?\.png", file) is not None


def _slugs(headings: Sequence[str]) -> list[str]:
    """Headings as parts of file names, numbered where letters and digits of ASCII do not distinguish them."""
    slugs: list[str] = []
    for heading in headings:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", heading).strip("-").lower()
        numbered = (f"{slug}-{number}".strip("-") for number in count(2))
        slugs.append(next(name for name in chain([slug], numbered) if name and name not in slugs))
    return slugs


def _headed(figure: ReportFigure, heading: str, slug: str) -> ReportFigure:
    if not heading:
        return figure
    return replace(figure, name=f"{figure.name}-{slug}", title=f"{figure.title}: {heading}", heading=heading)
