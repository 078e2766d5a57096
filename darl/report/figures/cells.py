"""What several figures ask of findings: the finished trials, the best cell, the cells to highlight."""

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["best_of", "finished", "notable", "roles"]

_FEW = 8
"""Number of cells that can be distinguished in one figure."""


def finished(findings: "Findings") -> pd.DataFrame:
    """The trials that ran to their end and have the metric."""
    trials = findings.trials
    return trials.loc[(trials["status"] == "finished") & trials[findings.metric].notna() & trials["cell"].notna()]


def best_of(findings: "Findings") -> str | None:
    """The best cell of the comparison, or else of the search; None if no cell has a value."""
    for frame, value in ((findings.table, "mean"), (findings.found, "value")):
        if len(frame) and len(valued := frame.loc[frame[value].notna()]):
            return str(valued["cell"].tolist()[0])
    return None


def roles(findings: "Findings") -> dict[str, str]:
    """The roles `best` and `baseline`, by cell; one cell may have both."""
    best, baseline = best_of(findings), findings.baseline
    if best == baseline:
        return {} if best is None else {best: "best and the baseline"}
    return {cell: role for cell, role in ((best, "best"), (baseline, "baseline")) if cell is not None}


def notable(findings: "Findings") -> list[str]:
    """The cells to highlight: all if they are few; else the best, the baseline, and a search's known points first."""
    cells = findings.experiments
    if len(cells) <= _FEW:
        return list(cells)
    known = findings.sweep.known_points
    wanted = dict.fromkeys([best_of(findings), findings.baseline, *known, *findings.table["cell"]])
    return [cell for cell in wanted if cell in cells][:_FEW]
