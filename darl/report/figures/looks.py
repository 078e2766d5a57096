"""What all figures need of a sweep's findings: which cell is the best, which the baseline, and how each looks.

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
"""A search's best cell, where it has no look of its own."""

_FAMILIES = ("order", "position", "objective", "noise")

_DASHES = ("-", (0, (5, 1.6)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))

_REST = tuple(look for look in LOOKS if look.color not in (BLUE, *(known.color for _, known in KNOWN.values())))
"""Of a race's other contenders, and of schedules without a name."""

_FEW = 8
"""Cells that can be told apart in one picture."""


def finished(findings: "Findings") -> pd.DataFrame:
    """The trials that ran to their end and have the metric."""
    trials = findings.trials
    return trials.loc[(trials["status"] == "finished") & trials[findings.metric].notna() & trials["cell"].notna()]


def best_of(findings: "Findings") -> str | None:
    """The best cell: of the comparison, else of the search; None where nothing has a value."""
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
    """The best cell and the baseline, and what they are: one cell may be both."""
    best, baseline = best_of(findings), baseline_of(findings)
    if best == baseline:
        return {} if best is None else {best: "best and the baseline"}
    return {cell: role for cell, role in ((best, "best"), (baseline, "baseline")) if cell is not None}


def experiments(findings: "Findings") -> dict[str, Experiment]:
    """An experiment of each cell that has trials; of a design, in its order."""
    rows = findings.trials.dropna(subset=["cell"]).drop_duplicates("cell")
    found = {str(cell): _read(config) for cell, config in zip(rows["cell"], rows["config"], strict=True)}
    order = list(findings.sweep.fixed_cells) or list(found)
    return {cell: found[cell] for cell in order if cell in found}


def notable(findings: "Findings") -> list[str]:
    """Cells to tell apart: all where they are few; else the best, the baseline and those with a name in a search."""
    cells = experiments(findings)
    if len(cells) <= _FEW:
        return list(cells)
    known = findings.sweep.known_points
    wanted = dict.fromkeys([best_of(findings), baseline_of(findings), *known, *findings.table["cell"]])
    return [cell for cell in wanted if cell in cells][:_FEW]


def looks(findings: "Findings") -> dict[str, Look]:
    """How each cell looks; a search's cells that have no name are grey, but for the best."""
    cells = experiments(findings)
    if fixed := findings.sweep.fixed_cells:
        own, sweep = set(findings.table["cell"]), findings.sweep
        return _by_variant({cell: sweep.experiment(point) for cell, point in fixed.items() if cell in own})
    own = {cell: known_look(one.noise) or Look(MUTED) for cell, one in cells.items()} if _noise_decides(cells) else {}
    found = {cell: own.get(cell, Look(MUTED)) for cell in cells}
    named = [(baseline_of(findings), KNOWN["paper"][1]), (best_of(findings), BEST)]
    for cell, look in named:
        if cell is not None and found[cell] == Look(MUTED):
            found[cell] = look
    grey = [cell for cell in findings.table["cell"] if found.get(cell) == Look(MUTED)]
    return found | dict(zip(grey, _REST, strict=False))


def known_look(noise: Noise | None) -> Look | None:
    """Of a schedule that readers know by name; None of others."""
    same = Beta(a=0.5, b=0.5) if isinstance(noise, Cosine) else noise
    return next((look for schedule, look in KNOWN.values() if schedule == same), None)


def _by_variant(cells: dict[str, Experiment]) -> dict[str, Look]:
    """By the variant's index in its family where one family tells the cells apart, else by the cell's index."""
    for family in _FAMILIES:
        variants: dict[str, Variant | None] = {cell: getattr(one, family) for cell, one in cells.items()}
        kinds = {variant.kind for variant in variants.values() if variant is not None}
        if len(kinds) > 1 and 2 * len(kinds) >= len(cells):
            return _told_apart({cell: look_of(variant) for cell, variant in variants.items()})
    if _noise_decides(cells):
        rest = iter((BEST, *_REST))
        return _told_apart({cell: known_look(one.noise) or next(rest, Look(MUTED)) for cell, one in cells.items()})
    return _told_apart({cell: LOOKS[index % len(LOOKS)] for index, cell in enumerate(cells)})


def _noise_decides(cells: dict[str, Experiment]) -> bool:
    """Whether the cells differ in their noise and in nothing else."""
    return (
        len(cells) > 1 and len({json.dumps({**one.to_record(), "noise": 0, "seed": 0}) for one in cells.values()}) == 1
    )


def look_of(variant: Variant | None) -> Look:
    """By the variant's index in its family; noise schedules that readers know have their own."""
    if variant is None:
        return Look(MUTED)
    if isinstance(variant, Noise) and (look := known_look(variant)):
        return look
    family: Any = type(variant).__mro__[type(variant).__mro__.index(Variant) - 1]
    return LOOKS[list(family.kinds()).index(variant.kind) % len(LOOKS)]


def _told_apart(looks: dict[str, Look]) -> dict[str, Look]:
    """Equal looks with different dashes."""
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
