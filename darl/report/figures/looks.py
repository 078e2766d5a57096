"""The look (colour, mark, dashes) of each cell.

The same variant looks the same in every figure and in every sweep: a patch order, say, has the colour of its index
among the patch orders. Noise schedules that readers know by name have colours of their own.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from darl.experiment import Experiment
from darl.model.noise import PAPER, Beta, Cosine, Linear, Noise
from darl.report.figures.cells import best_of
from darl.report.figures.style import BLUE, GREEN, LOOKS, MUTED, ORANGE, PURPLE, VERMILLION, Look
from darl.variants import Variant

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["KNOWN", "known_look", "look_of", "looks"]

KNOWN: Mapping[str, tuple[Noise, Look]] = {
    "paper": (PAPER, Look(VERMILLION, "*")),
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


def looks(findings: "Findings") -> dict[str, Look]:
    """The look of each cell; unnamed cells of a search are grey, except the best."""
    cells = findings.experiments
    if fixed := findings.sweep.fixed_cells:
        own, sweep = set(findings.table["cell"]), findings.sweep
        return _by_variant({cell: sweep.experiment(point) for cell, point in fixed.items() if cell in own})
    known = {cell: known_look(own.noise) for cell, own in cells.items()} if _noise_decides(cells) else {}
    by_cell = {cell: known.get(cell) or Look(MUTED) for cell in cells}
    named = [(findings.baseline, KNOWN["paper"][1]), (best_of(findings), BEST)]
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
        variants = {cell: _variant(own, family) for cell, own in cells.items()}
        kinds = {variant.kind for variant in variants.values() if variant is not None}
        if len(kinds) > 1 and 2 * len(kinds) >= len(cells):
            return _with_dashes({cell: look_of(variant) for cell, variant in variants.items()})
    if _noise_decides(cells):
        rest = iter((BEST, *_REST))
        return _with_dashes({cell: known_look(own.noise) or next(rest, Look(MUTED)) for cell, own in cells.items()})
    return _with_dashes({cell: LOOKS[index % len(LOOKS)] for index, cell in enumerate(cells)})


def _variant(own: Experiment, family: str) -> Variant | None:
    """The variant of a family; where each image has an order of its own, how it is read stands for the order."""
    return own.random_order if family == "order" and own.random_order else getattr(own, family)


def _noise_decides(cells: dict[str, Experiment]) -> bool:
    """Whether the cells differ only in their noise; data that has moved is the same data."""
    others = {json.dumps({**own.identity, "noise": None, "seed": None}, sort_keys=True) for own in cells.values()}
    return len(cells) > 1 and len(others) == 1


def look_of(variant: Variant | None) -> Look:
    """The look of a variant, by its index in its family; noise schedules that readers know have their own."""
    if variant is None:
        return Look(MUTED)
    if isinstance(variant, Noise) and (look := known_look(variant)):
        return look
    return LOOKS[list(variant.family_class().kinds()).index(variant.kind) % len(LOOKS)]


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
