"""What all figures need: the best cell, the baseline, and the look (colour, mark, dashes) of each cell.

The same variant looks the same in every picture and in every sweep: a patch order, say, has the colour of its index
among the patch orders. Noise schedules that readers know by name have colours of their own.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from darl.experiment import Experiment
from darl.model.noise import Beta, Cosine, Linear, Noise
from darl.report.figures.style import BLUE, GREEN, LOOKS, MUTED, ORANGE, PURPLE, VERMILLION, Look
from darl.variants import Variant

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = [
    "KNOWN",
    "baseline_of",
    "best_of",
    "experiments",
    "finished",
    "known_look",
    "look_of",
    "looks",
    "notable",
    "roles",
]

KNOWN: Mapping[str, tuple[Noise, Look]] = {
    "paper": (Beta(a=0.03, b=1.0), Look(VERMILLION, "*")),
    "uniform": (Beta(a=1.0, b=1.0), Look(GREEN, "s")),
    "cosine": (Beta(a=0.5, b=0.5), Look(PURPLE, "D")),
    "linear": (Linear(), Look(ORANGE, "^")),
}
"""Schedules that readers know. Cosine is Beta(0.5, 0.5)."""

BEST = Look(BLUE, "o")
"""The look of a search's best cell, if it has none of its own."""

_FAMILIES = ("order", "position", "objective", "noise")

_DASHES = ("-", (0, (5, 1.6)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))

_REST = tuple(look for look in LOOKS if look.color not in (BLUE, *(known.color for _, known in KNOWN.values())))
"""The looks of a race's other contenders, and of schedules without a name."""

_FEW = 8
"""Number of cells that can be distinguished in one picture."""


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


def baseline_of(findings: "Findings") -> str | None:
    """The cell that others are compared with, if it is among the trials."""
    table = findings.table
    named = table.loc[table["verdict"] == "baseline", "cell"].tolist() if len(table) else []
    cells = set(findings.trials["cell"])
    return next((name for name in (*named, findings.sweep.baseline) if name in cells), None)


def roles(findings: "Findings") -> dict[str, str]:
    """The roles `best` and `baseline`, by cell; one cell may have both."""
    best, baseline = best_of(findings), baseline_of(findings)
    if best == baseline:
        return {} if best is None else {best: "best and the baseline"}
    return {cell: role for cell, role in ((best, "best"), (baseline, "baseline")) if cell is not None}


def experiments(findings: "Findings") -> dict[str, Experiment]:
    """An experiment of each cell that has trials, in a design's own order."""
    rows = findings.trials.dropna(subset=["cell"]).drop_duplicates("cell")
    by_cell = {str(cell): _read(config) for cell, config in zip(rows["cell"], rows["config"], strict=True)}
    order = list(findings.sweep.fixed_cells) or list(by_cell)
    return {cell: by_cell[cell] for cell in order if cell in by_cell}


def notable(findings: "Findings") -> list[str]:
    """The cells to highlight: all if they are few; else the best, the baseline, and a search's known points first."""
    cells = experiments(findings)
    if len(cells) <= _FEW:
        return list(cells)
    known = findings.sweep.known_points
    wanted = dict.fromkeys([best_of(findings), baseline_of(findings), *known, *findings.table["cell"]])
    return [cell for cell in wanted if cell in cells][:_FEW]


def looks(findings: "Findings") -> dict[str, Look]:
    """The look of each cell; unnamed cells of a search are grey, except the best."""
    cells = experiments(findings)
    if fixed := findings.sweep.fixed_cells:
        own, sweep = set(findings.table["cell"]), findings.sweep
        return _by_variant({cell: sweep.experiment(point) for cell, point in fixed.items() if cell in own})
    known = {cell: known_look(own.noise) for cell, own in cells.items()} if _noise_decides(cells) else {}
    by_cell = {cell: known.get(cell) or Look(MUTED) for cell in cells}
    named = [(baseline_of(findings), KNOWN["paper"][1]), (best_of(findings), BEST)]
    for cell, look in named:
        if cell is not None and by_cell[cell] == Look(MUTED):
            by_cell[cell] = look
    grey = [cell for cell in findings.table["cell"] if by_cell.get(cell) == Look(MUTED)]
    return by_cell | dict(zip(grey, _REST, strict=False))


def known_look(noise: Noise | None) -> Look | None:
    """The look of a schedule that readers know by name; None for others."""
    same = Beta(a=0.5, b=0.5) if isinstance(noise, Cosine) else noise
    return next((look for schedule, look in KNOWN.values() if schedule == same), None)


def _by_variant(cells: dict[str, Experiment]) -> dict[str, Look]:
    """Looks by the variant's index in its family if one family distinguishes the cells, else by the cell's index."""
    for family in _FAMILIES:
        variants: dict[str, Variant | None] = {cell: getattr(own, family) for cell, own in cells.items()}
        kinds = {variant.kind for variant in variants.values() if variant is not None}
        if len(kinds) > 1 and 2 * len(kinds) >= len(cells):
            return _with_dashes({cell: look_of(variant) for cell, variant in variants.items()})
    if _noise_decides(cells):
        rest = iter((BEST, *_REST))
        return _with_dashes({cell: known_look(own.noise) or next(rest, Look(MUTED)) for cell, own in cells.items()})
    return _with_dashes({cell: LOOKS[index % len(LOOKS)] for index, cell in enumerate(cells)})


def _noise_decides(cells: dict[str, Experiment]) -> bool:
    """Whether the cells differ only in their noise."""
    return (
        len(cells) > 1 and len({json.dumps({**own.to_record(), "noise": 0, "seed": 0}) for own in cells.values()}) == 1
    )


def look_of(variant: Variant | None) -> Look:
    """The look of a variant, by its index in its family; noise schedules that readers know have their own."""
    if variant is None:
        return Look(MUTED)
    if isinstance(variant, Noise) and (look := known_look(variant)):
        return look
    family: Any = type(variant).__mro__[type(variant).__mro__.index(Variant) - 1]
    return LOOKS[list(family.kinds()).index(variant.kind) % len(LOOKS)]


def _with_dashes(looks: dict[str, Look]) -> dict[str, Look]:
    """The looks, with different dashes where they are equal."""
    seen: dict[Look, int] = {}
    for look in looks.values():
        seen[look] = 0
    apart: dict[str, Look] = {}
    for cell, look in looks.items():
        apart[cell] = replace(look, dashes=_DASHES[seen[look] % len(_DASHES)])
        seen[look] += 1
    return apart


@cache
def _read(config: str) -> Experiment:
    return Experiment.from_record(json.loads(config))
