"""The words of a report: each verdict as sentences, and notes.

An answer says which cell leads and by how much, then whether the difference is significant, and how to reduce the
uncertainty. Each kind and state of a verdict (`darl.report.verdict`) has whole sentences of its own: the templates
below.

Accuracies are fractions in frames, percent in texts, and their differences points; losses are not converted.
"""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import pandas as pd

from darl.metrics import METRICS
from darl.report.format import above, amount, between, measured, probability, score, value
from darl.report.verdict import (
    Compared,
    NextStep,
    Nothing,
    Ranked,
    Selected,
    Significance,
    Standing,
    Verdict,
)
from darl.sweep.statistics import FEWEST
from darl.sweep.wording import several

__all__ = ["LACKS", "answer", "counted", "failures", "sentences", "shortfalls", "versions"]

LACKS = {
    "dropped": "dropped by the race after {seeds} of {planned} seeds",
    "overtaken": "{seeds} of {planned} seeds, and no longer among the best of the search",
    "spent": "{seeds} of {planned} seeds; the other trials have no result",
    "incomplete": "{seeds} of {planned} seeds",
}
"""Why a cell has fewer seeds than planned, in a note."""

ONE_SEED = "One seed decides nothing, and the best of many looks better than it is"

LEADS = {
    Standing.COMPLETE: "{leader} leads with {mean}",
    Standing.INCOMPLETE: "No cell has all its {planned} {seeds} yet; so far {leader} leads with {mean}",
    Standing.SPENT: "No cell has all its {planned} {seeds}; {leader} leads with {mean}",
    Standing.RACE_OVER: "{leader} leads after the race with {mean}",
    Standing.RACE_OPEN: "{leader} leads the race, which has not ended, with {mean}",
    Standing.RACE_LEFT: "{leader} leads so far, though the search has found better since, with {mean}",
}

GAP = "{lead}, {gap} {baseline}{interval}."

GAP_OF_NEXT = "{lead}; the next is {rival}, {gap}{interval}."
"""Used if the leader is the baseline."""

GAP_ON_COMMON_SEEDS = "{lead}; on the seeds that both have, {rival} is {gap} it{interval}."
"""Used if the leader is the baseline and has seeds that no other cell has."""

LEADS_BEHIND_FEWER = (
    "{ahead} has a better mean, {ahead_mean}, but only {ahead_seeds} of {planned} {seeds}. Of the others, "
)
"""Stands before `LEADS` if a cell has a better mean but lacks seeds."""

WORTH = {
    Significance.BETTER: "The difference is significant ({p}).",
    Significance.WORSE: "The difference is significant ({p}).",
    Significance.INCONCLUSIVE: "The difference is not significant ({p}): more seeds narrow the interval.",
    Significance.NO_COMMON_SEED: "{rival} and {baseline} have no seed in common, so they are not compared.",
    Significance.NO_BASELINE: "There is no baseline, so the differences are not tested.",
    Significance.BASELINE_WITHOUT_RESULT: "{baseline}, the baseline, has no result, so the differences are not tested.",
    Significance.NO_RIVAL: "No other setting was run.",
    Significance.RIVALS_WITHOUT_RESULT: "No other cell has a result to compare it with.",
}
"""Whether the difference is significant, except with too few seeds (`TOO_FEW`)."""

TOO_FEW = {
    Significance.ONE_SEED: ONE_SEED,
    Significance.TOO_FEW_SEEDS: "With {pairs} {seeds} no difference counts as significant",
}
"""Beginnings of the sentence for too few seeds; `REMEDY` or `UNFINISHED` is its end."""

REMEDY = ": set seeds to {more} or more."

UNFINISHED = ": {planned} are planned; run the same command to continue."

SELECTED = "{cell} is the best of {points} points by {metric} with {value} (one seed)"

WORSE_THAN_PIXELS = " These features are worse than the pixels that they were computed from."

NEXT = {
    NextStep.NO_RACE: "Set seeds to {more} to run the best points again on {fewest} fresh seeds.",
    NextStep.RACE_AHEAD: "The best points still have to run on all fresh seeds; run the same command to continue.",
    NextStep.RACE_WITHOUT_RESULT: "No trial on a fresh seed gave a result.",
}


def answer(verdicts: Sequence[Verdict], group: str = "") -> str:
    """The sentences of a report; while a search's race has not ended, on the search and then on the race."""
    text = " ".join(map(sentences, verdicts))
    return f"{group}: {text}" if group else text


@singledispatch
def sentences(verdict: Verdict) -> str:
    """A verdict in words."""
    raise TypeError(f"no sentences for {verdict!r}")


@sentences.register
def _(verdict: Nothing) -> str:
    if verdict.failed and not verdict.stopped:
        return f"No trial has finished ({verdict.failed} failed), so there is nothing to compare."
    return "No trial has finished yet, so there is nothing to compare."


@sentences.register
def _(verdict: Selected) -> str:
    texts = {"cell": verdict.cell, "points": verdict.points, "metric": METRICS[verdict.metric].name}
    has = score(verdict.value, verdict.metric)
    if verdict.points == 1:
        return _joined(f"{verdict.cell} has {has} (one seed). No other setting was run.", _worthwhile(verdict))
    first = SELECTED.format(**texts, value=has)
    if verdict.is_baseline:
        first += ", which is the baseline"
    elif verdict.ahead is not None:
        first += f", {above(verdict.ahead, verdict.metric)} {verdict.baseline}"
    then = NEXT[verdict.next_step].format(more=verdict.more_seeds, fewest=FEWEST)
    return _joined(f"{first}.", f"{ONE_SEED}.", then, _worthwhile(verdict, "The best"))


@sentences.register
def _(verdict: Compared) -> str:
    alone = verdict.significance in (Significance.NO_RIVAL, Significance.RIVALS_WITHOUT_RESULT)
    first = _alone(verdict) if alone else _leads(verdict)
    return _joined(first, _worth(verdict), _of_all(verdict), _worthwhile(verdict, "It" if alone else "The leader"))


@sentences.register
def _(verdict: Ranked) -> str:
    has = f"{score(verdict.value, verdict.metric)} ({several(verdict.seeds, 'seeds')})"
    if verdict.configurations == 1:
        return _joined(f"The only configuration has {has}. No other setting was run.", _worthwhile(verdict))
    named = ", ".join(f"{name} {value(setting)}" for name, setting in verdict.settings)
    first = f"Best of {verdict.configurations} by {METRICS[verdict.metric].name}: {named} with {has}."
    worth = f"{ONE_SEED}." if verdict.one_seed_each else "The differences are not tested."
    return _joined(first, worth, _worthwhile(verdict))


def _joined(*texts: str) -> str:
    return " ".join(filter(None, texts))


def _texts(verdict: Compared) -> dict[str, Any]:
    """The texts that the templates of a comparison take."""
    leader = verdict.leader
    return {
        "leader": f"{leader.cell}, the baseline," if verdict.leads_as_baseline else leader.cell,
        "mean": f"{measured(vars(leader), verdict.metric)} ({several(leader.seeds, verdict.seed_noun)})",
        "planned": leader.planned,
        "seeds": verdict.seed_noun,
        "rival": verdict.rival.cell if verdict.rival else "",
        "baseline": verdict.baseline,
    }


def _alone(verdict: Compared) -> str:
    return f"{verdict.leader.cell} has {_texts(verdict)['mean']}."


def _leads(verdict: Compared) -> str:
    """The leader and its distance from the baseline; if the leader is the baseline, its distance from the next cell."""
    texts, gap = _texts(verdict), verdict.difference
    lead = _behind_fewer(verdict) + LEADS[verdict.standing].format(**texts)
    if verdict.rival is None and verdict.second is not None:
        return f"{lead}, before {verdict.second.cell} with {measured(vars(verdict.second), verdict.metric)}."
    if gap is None:
        return f"{lead}."
    template = GAP
    if verdict.leads_as_baseline:
        template = GAP_OF_NEXT if verdict.rival_is_ranked else GAP_ON_COMMON_SEEDS
    ends = between(vars(gap), verdict.metric)
    interval = f" (95 % interval {ends})" if ends else ""
    return template.format(**texts, lead=lead, gap=above(gap.difference, verdict.metric), interval=interval)


def _behind_fewer(verdict: Compared) -> str:
    """The words before the leader on a cell that has a better mean but lacks seeds."""
    ahead = verdict.ahead_on_fewer
    if ahead is None:
        return ""
    own = {"ahead": ahead.cell, "ahead_mean": measured(vars(ahead), verdict.metric), "ahead_seeds": ahead.seeds}
    return LEADS_BEHIND_FEWER.format(**own, **_texts(verdict))


def _worth(verdict: Compared) -> str:
    """Whether the difference is significant, and how to find out if too few seeds have run."""
    texts, gap = _texts(verdict), verdict.difference
    if verdict.significance in TOO_FEW and gap is not None:
        template = TOO_FEW[verdict.significance] + (UNFINISHED if verdict.more_seeds is None else REMEDY)
        return template.format(**texts, pairs=gap.pairs, more=verdict.more_seeds, fewest=FEWEST)
    chance = "" if gap is None else probability(gap.p)
    equals = "" if chance.startswith("<") else "= "
    return WORTH[verdict.significance].format(**texts, p=f"Holm-corrected p {equals}{chance}")


def _of_all(verdict: Compared) -> str:
    """A sentence on all cells, if there are several and it adds to the rest of the answer."""
    if verdict.others < 2 or verdict.difference is None:
        return ""
    counts = verdict.better, verdict.worse
    if any(counts):
        of = f"{verdict.better} of {verdict.others} cells"
        return f"Significantly better than {verdict.baseline}: {of}; significantly worse: {verdict.worse}."
    if verdict.significance == Significance.INCONCLUSIVE and verdict.bound_informs:
        most = amount(verdict.bound, verdict.metric)
        return f"No cell differs from {verdict.baseline} by more than {most} (95 % confidence for each)."
    return ""


def _worthwhile(verdict: Selected | Compared | Ranked, whose: str = "It") -> str:
    """The distance from the yardsticks: raw pixels and random initialisation."""
    other = METRICS[verdict.metric].gain_by
    by = f" by {METRICS[other].name}" if other else ""
    distances = {"raw pixels": verdict.over_pixels, "random initialisation": verdict.gain}
    parts = [
        f"{above(distance, other or verdict.metric)} {yardstick}"
        for yardstick, distance in distances.items()
        if pd.notna(distance)
    ]
    if not parts:
        return ""
    warning = WORSE_THAN_PIXELS if verdict.over_pixels < 0 else ""
    return f"{whose} is {' and '.join(parts)}{by}.{warning}"


def counted(counts: Mapping[str, int]) -> str:
    """`12 finished, 3 stopped early, 1 failed`, and the number of missing trials."""
    text = f"{counts['finished']} finished, {counts['stopped']} stopped early, {counts['failed']} failed"
    return f"{text}, {counts['missing']} missing" if counts.get("missing") else text


def versions(trials: pd.DataFrame) -> list[str]:
    """A note if several versions of the code ran the trials."""
    number = len(trials[["darl_version", "git_commit"]].drop_duplicates())
    return [f"the trials were run by {number} versions of the code"] if number > 1 else []


def failures(trials: pd.DataFrame) -> list[str]:
    """Notes on why trials failed: the first three reasons."""
    errors = trials.loc[trials["status"] == "failed", "error"].dropna().unique()
    more = [f"and {several(len(errors) - 3, 'other errors')}"] if len(errors) > 3 else []
    return [f"failed: {error}" for error in errors[:3]] + more


def shortfalls(table: pd.DataFrame) -> list[str]:
    """Notes on the cells of a comparison that do not have all their seeds."""
    rows = table.loc[table["seeds"] < table["planned"]].to_dict("records")
    return [f"{row['cell']}: {LACKS[row['lacks']].format(**row)}" for row in rows]
