"""Which pictures suit a sweep: each kind says itself, by what varies in the trials."""

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
from darl.report.figures.figure import Picture
from darl.report.figures.style import applied

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["headings", "is_ours", "pictures"]

_PAINTERS = (
    intervals.paint, noise_map.paint, schedules.paint, orders.paint, importances.paint, enlarged.paint, learning.paint,
    denoising.paint,
)  # fmt: skip
"""In the order of presentation."""

_NAMES = ("cells", "map", "schedules", "orders", "importance", "enlarged", "learning", "denoising", "matrix")


def pictures(findings: "Sequence[Findings]", curves: pd.DataFrame) -> list[Picture]:
    """Those that the trials are enough for; of a design with several groups the matrix first, then each group's.

    curves: the table of reports, of these trials among others.
    """
    found: list[Picture] = []
    with applied():
        for design in {id(one.sweep): one.sweep for one in findings}.values():
            whole = matrix.paint([one for one in findings if one.sweep is design])
            found += [whole] if whole else []
        for one, heading in zip(findings, headings(findings), strict=True):
            found += [_headed(picture, heading) for paint in _PAINTERS if (picture := paint(one, curves))]
    return found


def headings(findings: "Sequence[Findings]") -> list[str]:
    """What tells several findings apart, one text each: a design's group, a search's data; empty for a single one."""
    if len(findings) < 2:
        return ["" for _ in findings]
    names: list[str] = []
    for one in findings:
        name = one.sweep.heading(one.comparison.group)
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


def is_ours(file: str) -> bool:
    """Whether a file of this name may be a picture of an earlier report, and not the user's own."""
    return re.fullmatch(rf"({'|'.join(_NAMES)})(-[a-z0-9-]+)?\.png", file) is not None


def _headed(picture: Picture, heading: str) -> Picture:
    if not heading:
        return picture
    slug = re.sub(r"[^A-Za-z0-9]+", "-", heading).strip("-").lower()
    return replace(picture, name=f"{picture.name}-{slug}", title=f"{picture.title}: {heading}", heading=heading)
