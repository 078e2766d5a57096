"""The words of a report: numbers as people read them, and an answer that is hedged as the numbers demand.

Accuracies are fractions in frames, percent in texts, and their differences points; losses are as they are. Tables of
comparisons have the columns that `darl.report.findings.Findings` tells of, best first.
"""

import math
from typing import Any

import pandas as pd

from darl.metrics import METRICS
from darl.report.format import above, amount, between, measured, probability, score, several, value
from darl.sweep.statistics import FEWEST

__all__ = [
    "AHEAD",
    "FORMER",
    "LACKS",
    "baseline_of",
    "chosen",
    "compared",
    "counted",
    "failures",
    "nothing",
    "ranking",
    "shortfalls",
    "versions",
]

AHEAD = "ahead in the race, which has not ended,"
"""What the first cell of a race is that was cut short."""

FORMER = "best so far, though no longer in the race, which has not ended,"
"""The same, where the search has found better ones since."""

LACKS = {
    "dropped": "dropped by the race after {seeds} of {planned} seeds",
    "overtaken": "{seeds} of {planned} seeds, and no longer among the best of the search",
    "spent": "{seeds} of {planned} seeds, and the others gave no result",
    "incomplete": "{seeds} of {planned} seeds",
}
"""Why a cell has fewer seeds than planned, in a note."""

_ALONE = "there is nothing to compare it with"

_LUCK = "one seed decides nothing, and the best of many looks better than it is"


def counted(counts: dict[str, int]) -> str:
    """`12 finished, 3 stopped early, 1 failed`, and what is missing."""
    text = f"{counts['finished']} finished, {counts['stopped']} stopped early, {counts['failed']} failed"
    return f"{text}, {counts['missing']} missing" if counts.get("missing") else text


def versions(trials: pd.DataFrame) -> list[str]:
    """A note, where the rows are of several versions of the code."""
    number = len(trials[["darl_version", "git_commit"]].drop_duplicates())
    return [f"from {number} versions of the code"] if number > 1 else []


def failures(trials: pd.DataFrame) -> list[str]:
    """Notes on why trials failed: the first three reasons."""
    errors = trials.loc[trials["status"] == "failed", "error"].dropna().unique()
    more = [f"and {several(len(errors) - 3, 'other errors')}"] if len(errors) > 3 else []
    return [f"failed: {error}" for error in errors[:3]] + more


def shortfalls(table: pd.DataFrame) -> list[str]:
    """Notes on the cells of a comparison that do not have all their seeds."""
    rows = table.loc[table["seeds"] < table["planned"]].to_dict("records")
    return [f"{row['cell']}: {LACKS[row['lacks']].format(**row)}" for row in rows]


def baseline_of(table: pd.DataFrame) -> str | None:
    """The cell that a comparison is made with."""
    return next(iter(table.loc[table["verdict"] == "baseline", "cell"]), None)


def nothing(counts: dict[str, int]) -> str:
    """The answer where nothing has finished."""
    if counts["failed"] and not counts["stopped"]:
        return f"No trial has finished ({counts['failed']} failed), so there is nothing to compare."
    return "No trial has finished yet, so there is nothing to compare."


def chosen(found: pd.DataFrame, metric: str, baseline: str | None, planned: int, *, over: bool = False) -> str:
    """The answer of a search before its race, on seeds of which `planned` are: `found` as in `Findings`, not empty.

    over: whether the race has been, and has given nothing.
    """
    best, rest = found.iloc[0], found.loc[found["cell"] == baseline, "value"].tolist()
    if len(found) == 1:
        return f"{best['cell']} has {score(best['value'], metric)} (one seed); {_ALONE}.{_over_random(best, metric)}"
    apart = ""
    if best["cell"] == baseline:
        apart = ", which is the baseline"
    elif rest:
        apart = f", {above(best['value'] - rest[0], metric)} {baseline}"
    again = "more --seeds run the best again on fresh ones"
    if over:
        again = "no trial on a fresh seed gave a result"
    elif planned > 1:
        again = "the best have yet to run again on all fresh seeds"
    return (
        f"{best['cell']} is the best of {len(found)} by {METRICS[metric].name} with {score(best['value'], metric)}"
        f"{apart}; {_LUCK}: {again}.{_over_random(best, metric, 'The best')}"
    )


def compared(table: pd.DataFrame, metric: str, noun: str = "seeds", best: str = "best") -> str:
    """The answer of a comparison in which at least one cell has a mean.

    noun: what its seeds are called. best: what its first cell is.
    """
    known = table.loc[table["mean"].notna()]
    first, baseline = known.iloc[0], baseline_of(table)
    has = f"{measured(first, metric)} ({several(first['seeds'], noun)})"
    if len(known) == 1:
        alone = _ALONE if len(table) == 1 else "nothing else has a result to compare it with"
        return f"{first['cell']} has {has}; {alone}.{_over_random(first, metric)}"
    if pd.isna(first["rank"]):
        yet, so_far = (" yet", "so far ") if any(table["lacks"] == "incomplete") else ("", "")
        head = f"No cell has all its {first['planned']} {noun}{yet}; {so_far}{first['cell']} leads"
    else:
        head = f"{first['cell']}{', the baseline,' if first['cell'] == baseline else ''} is {best}"
    against = _against(known, metric, baseline)
    return (
        f"{_higher(known, metric, noun, baseline)}{head} with {has}{against}.{_over_random(first, metric, 'The best')}"
    )


def ranking(rows: list[dict[str, Any]], fields: list[str], metric: str) -> str:
    """The answer of a ranking by configuration, best first: `fields` are those that vary."""
    best, most = rows[0], max(row["seeds"] for row in rows)
    named = ", ".join(f"{name} {value(best[name])}" for name in fields)
    has = f"{score(best[metric], metric)} ({several(best['seeds'], 'seeds')})"
    gained = _over_random(best, metric)
    if len(rows) == 1:
        return f"The only configuration has {has}; {_ALONE}.{gained}"
    hedge = _LUCK if most == 1 else "the differences are not tested"
    return f"Best of {len(rows)} by {METRICS[metric].name}: {named} with {has}; {hedge}.{gained}"


def _against(known: pd.DataFrame, metric: str, baseline: str | None) -> str:
    """The first cell beside the baseline; the next one, where it is the baseline."""
    first, second = known.iloc[0], known.iloc[1]
    if baseline not in known["cell"].tolist():
        why = "there is no baseline" if baseline is None else f"{baseline}, the baseline, has no result"
        before = f", before {second['cell']} with {measured(second, metric)}"
        before = before if pd.isna(first["rank"]) or pd.notna(second["rank"]) else ""
        return f"{before}; {why}, so the differences are not tested"
    row = second if first["cell"] == baseline else first
    if not row["pairs"]:
        return f"; {row['cell']} and {baseline} have no seed in common"
    apart, interval = above(row["difference"], metric), between(row, metric)
    text = f", {apart} {baseline}"
    if row is second:
        behind = row["complete"] or pd.isna(first["rank"])
        text = f"; next is {row['cell']}, {apart}" if behind else f"; {row['cell']} is {apart} it on the seeds of both"
    text += f" (95 %: {interval})" if interval else ""
    return text + _hedge(row) + _others(known, metric, str(baseline))


def _higher(known: pd.DataFrame, metric: str, noun: str, baseline: str | None) -> str:
    """A cell that lacks seeds and yet stands above the first, which has all of them; by common seeds where it can."""
    first, rest = known.iloc[0], known.loc[~known["complete"]]
    apart = rest["mean"] - first["mean"]
    if first["cell"] == baseline:
        apart = apart.where((rest["pairs"] == 0) | (rest["difference"] * apart > 0), 0.0)
    rest = rest.loc[apart > 0 if METRICS[metric].higher_is_better else apart < 0]
    if pd.isna(first["rank"]) or rest.empty:
        return ""
    top, end = rest.iloc[0], "highest" if METRICS[metric].higher_is_better else "lowest"
    so_far = f"{top['seeds']} of {top['planned']} {noun}"
    return f"{top['cell']} stands {end} with {measured(top, metric)}, but on {so_far} only; of the cells with all, "


def _hedge(row: Any) -> str:
    """What the difference is worth."""
    if row["verdict"] == "one seed":
        return f"; {_LUCK}"
    if row["verdict"] != "inconclusive":
        return f": {row['verdict']}, with a Holm-corrected p of {probability(row['p_holm'])}"
    if row["pairs"] < FEWEST:
        return ": inconclusive with fewer than six seeds"
    return f": inconclusive, with a Holm-corrected p of {probability(row['p_holm'])}"


def _others(known: pd.DataFrame, metric: str, baseline: str) -> str:
    """What holds for all cells: how many differ from the baseline, or how much they differ at most."""
    cells = known.loc[known["verdict"] != "baseline"].to_dict("records")
    better, worse = (sum(cell["verdict"] == word for cell in cells) for word in ("better", "worse"))
    if better or worse:
        return f"; of {len(cells)}, {better} better and {worse} worse than {baseline}" if len(cells) > 1 else ""
    bounds = [abs(cell[name]) for cell in cells for name in ("difference_low", "difference_high")]
    if any(math.isnan(bound) for bound in bounds) or max(bounds) >= METRICS[metric].unit.highest:
        return ""  # values never differ by more
    most = amount(max(bounds), metric)
    if len(cells) == 1:
        return f"; no difference larger than {most} at 95 %"
    return f"; no difference to {baseline} larger than {most} (each at 95 %)"


def _over_random(row: Any, metric: str, whose: str = "It") -> str:
    """A sentence on what pretraining gave."""
    if pd.isna(row["gain"]):
        return ""
    gain = METRICS[METRICS[metric].gain_by or metric]
    by = "" if gain.column == metric else f" by {gain.name}"
    return f" {whose} is {above(row['gain'], gain.column)} random initialisation{by}."
