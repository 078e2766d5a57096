"""The reproduction table: a paper's claims beside what was run, as text and as Markdown."""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import pandas as pd

from darl.experiment import Experiment
from darl.metrics import METRICS
from darl.report import format
from darl.report.claims import Claim, Difference, Evidence, evidence
from darl.sweep.wording import several

__all__ = ["HEADERS", "markdown", "table_rows"]

HEADERS = ("claim", "run by", "at", "difference (95 %)", "seeds", "verdict")

INTRODUCTION = """# What was reproduced

Each finding of the paper beside the trials that test it. Made from tables by

    {command}

A difference is the claimed setting's value minus its rival's, over seeds that both share (weights, batches, noise),
with its 95 % interval. **Confirmed**: with at least six seeds, better than every rival (Holm's p below 0.05), or, where
the claim has a margin, no rival better by more than the margin. **Contradicted**: the reverse for one rival. **Not
decided**: neither; a number of seeds is what a difference like this one would take, with a power of 80 %. A verdict
holds for the scale that its row names, and for no other.
"""


def table_rows(claims: Sequence[Claim], tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, ...]]:
    """The rows under `HEADERS`: one for each claim and scale, most seeds first; claims that nothing tests say so.

    tables: the trials of each sweep, by its folder.
    """
    rows: list[tuple[str, ...]] = []
    for claim in claims:
        found = [(folder, each) for folder, trials in tables.items() for each in evidence(claim, trials)]
        found.sort(key=lambda each: -_pairs(each[1]))
        rows += [_row(claim, folder, each) for folder, each in found]
        if not found:
            rows.append((_claim(claim), f"`{claim.sweep}`", "–", "–", "0", "not run"))
    return rows


def markdown(claims: Sequence[Claim], tables: Mapping[str, pd.DataFrame], command: str) -> str:
    """The page. command: the one that makes it."""
    rows = [HEADERS, tuple("---" for _ in HEADERS), *table_rows(claims, tables)]
    lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return INTRODUCTION.format(command=command) + "\n" + "\n".join(lines) + "\n"


def _row(claim: Claim, folder: str, found: Evidence) -> tuple[str, ...]:
    needed = "" if found.seeds_needed is None else f"; about {found.seeds_needed:,} seeds would decide it"
    shown = "; ".join(_difference(claim, each) for each in found.differences)
    name = PurePosixPath(folder).name
    return (
        _claim(claim), f"`{claim.sweep}` ({name})", scale(found.experiment), shown, str(_pairs(found)),
        found.verdict + needed,
    )  # fmt: skip


def _claim(claim: Claim) -> str:
    metric = METRICS[claim.metric]
    margin = f", margin {metric.format_difference_with_unit(claim.margin)}" if claim.margin else ""
    return f"{claim.text} ({metric.name}{margin})"


def _difference(claim: Claim, found: Difference) -> str:
    metric = METRICS[claim.metric]
    interval = "" if math.isnan(found.low) else f" ({_signed(found.low, claim)} to {_signed(found.high, claim)})"
    unit = f" {metric.unit.difference_unit}" if metric.unit.unit_in_sentences else ""
    return f"{_signed(found.mean, claim)}{unit}{interval} over {found.rival}"


def _signed(difference: float, claim: Claim) -> str:
    text = METRICS[claim.metric].format_difference(difference)
    return text.removeprefix("-") if float(text) == 0 else text if text.startswith("-") else f"+{text}"


def _pairs(found: Evidence) -> int:
    return min(each.pairs for each in found.differences)


def scale(experiment: Experiment) -> str:
    """`cifar10 (40,000 images of 32 pixels), width 64, depth 4, patches of 8, 6 epochs`."""
    content, model = experiment.content, experiment.model
    images = "images" if content is None else f"{content.train:,} images"
    name = PurePosixPath(experiment.data).name
    return (
        f"{name} ({images} of {experiment.image_size} pixels), width {format.value(model.width)}, depth {model.depth}, "
        f"patches of {model.patch_size}, {several(experiment.epochs, 'epochs')}"
    )
