"""Yardsticks in a report: the leader of a sweep beside its rivals, raw pixels and random initialisation.

A rival (`darl.sweep.yardsticks`) has two cells, one with as many image passes as the leader, one with as many
floating-point operations. The table has one row for each yardstick. The sentence names, for each of the two, the rival
that has the best mean; training with labels is told apart, since it sees what pretraining does not.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from darl.metrics import METRICS
from darl.report import format
from darl.report.answer import REMEDY, TOO_FEW, UNFINISHED, sentences
from darl.report.verdict import Beside, Gap, Significance
from darl.sweep.rivals import Rival
from darl.sweep.statistics import FEWEST, differences, means, values_frame
from darl.sweep.wording import several
from darl.variants import Record

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["COST", "NOTE", "compare_rivals", "texts", "yardstick_key", "yardstick_rows"]

NOTE = (
    "the rivals have the leader's encoder, optimiser and learning rate, which were chosen for the leader and not for "
    "them; and the leader was chosen on these seeds, so it looks a little better than it is"
)

PIXELS, RANDOM = "raw pixels", "random initialisation"

COST = "FLOPs per image"
"""The title of the column of the operations per image."""


def compare_rivals(
    table: pd.DataFrame, rivals: Sequence[Rival], leader: str, metric: str, seed_noun: str, more_seeds: int
) -> Beside:
    """The verdict on a leader beside its rivals. table: as in `darl.report.findings.Findings.table`."""
    rows = {str(row["cell"]): row for row in table.to_dict("records")}
    own = [rival for rival in rivals if not rival.uses_labels]
    passes = [gap for rival in own if (gap := _gap(rival, rows[rival.at_passes])) is not None]
    flops = [gap for rival in own if (gap := _gap(rival, rows[rival.at_flops])) is not None]
    labelled = [gap for rival in rivals if rival.uses_labels and (gap := _gap(rival, rows[rival.at_passes]))]
    planned = int(rows[leader]["planned"])
    return Beside(
        metric=metric,
        seed_noun=seed_noun,
        leader=leader,
        rivals=len(own),
        at_passes=_best(passes, metric),
        at_flops=_best(flops, metric),
        supervised=_best(labelled, metric),
        more_seeds=None if planned >= FEWEST else more_seeds,
        planned=planned,
    )


def _gap(rival: Rival, row: Record) -> Gap | None:
    """None where the cell or the leader has no value on a common seed."""
    if not row["pairs"]:
        return None
    names = ("cell", "mean", "difference", "difference_low", "difference_high", "pairs", "verdict")
    return Gap(rival=rival.name, cost=rival.cost, **{name: row[name] for name in names})


def _best(gaps: Sequence[Gap], metric: str) -> Gap | None:
    sign = 1 if METRICS[metric].higher_is_better else -1
    return max(gaps, key=lambda gap: sign * gap.difference, default=None)


@sentences.register
def _(verdict: Beside) -> str:
    passes, flops = verdict.at_passes, verdict.at_flops
    if passes is None or flops is None:
        return "The leader's yardsticks have no result yet."
    among = f", the best of {verdict.rivals} rivals" if verdict.rivals > 1 else ""
    again = "it" if flops.rival == passes.rival else flops.rival
    one = flops.cell == passes.cell
    first = f"At equal image passes{' and at equal FLOPs' if one else ''} the leader is "
    first += f"{_from(passes, passes.rival, verdict)}{among}"
    first += "." if one else f", and at equal FLOPs {_from(flops, again, verdict)}."
    cost = f"An image costs the leader {1 / passes.cost:.2f} times the FLOPs of {passes.rival}."
    return " ".join(filter(None, (first, cost, _with_labels(verdict), _hedge(verdict, min(passes.pairs, flops.pairs)))))


def _from(gap: Gap, name: str, verdict: Beside) -> str:
    """The leader's distance from a rival: `2.1 points above MAE (95 % interval 1.0 to 3.2, significant)`."""
    ends = {"difference_low": -gap.difference_high, "difference_high": -gap.difference_low}
    interval = format.between(ends, verdict.metric)
    tested = "" if gap.pairs < FEWEST else "significant" if gap.verdict in ("better", "worse") else "not significant"
    inside = ", ".join(filter(None, (interval and f"95 % interval {interval}", tested)))
    return f"{format.above(-gap.difference, verdict.metric)} {name}" + (f" ({inside})" if inside else "")


def _with_labels(verdict: Beside) -> str:
    gap = verdict.supervised
    return "" if gap is None else f"The leader is {_from(gap, 'training from scratch with all labels', verdict)}."


def _hedge(verdict: Beside, pairs: int) -> str:
    """Why no difference counts as significant, and how many seeds it takes."""
    if pairs >= FEWEST:
        return ""
    kind = Significance.ONE_SEED if pairs == 1 else Significance.TOO_FEW_SEEDS
    end = UNFINISHED if verdict.more_seeds is None else REMEDY
    words = {"pairs": pairs, "seeds": verdict.seed_noun, "planned": verdict.planned, "more": verdict.more_seeds}
    return (TOO_FEW[kind] + end).format(**words)


def yardstick_rows(finding: "Findings") -> list[Record]:
    """One row for the leader and each yardstick, in the order of presentation.

    Keys: `cell` (the yardstick's name), `passes` and `flops` (for each a row of `darl.report.findings.Findings.table`,
    None where it has none), `cost` (operations per image as a multiple of the leader's; NaN where nothing is trained),
    `epochs` (at equal passes and at equal FLOPs, as text) and `verdict`, `baseline` for the leader.
    """
    table = {str(row["cell"]): row for row in finding.table.to_dict("records")}
    leader = str(finding.comparison.baseline)
    own = finding.experiments.get(leader)
    epochs = f"{own.epochs}" if own else ""
    rows: list[Record] = [{"cell": f"{leader}, the leader", "passes": table.get(leader), "flops": table.get(leader)}]
    rows[0] |= {"cost": 1.0, "epochs": epochs, "verdict": "baseline"}
    for rival in finding.comparison.rivals:
        cells = {"passes": table.get(rival.at_passes), "flops": table.get(rival.at_flops)}
        name = f"{rival.name} (with labels)" if rival.uses_labels else rival.name
        both = epochs if rival.at_flops == rival.at_passes else f"{epochs}, {rival.epochs}"
        rows.append({"cell": name, **cells, "cost": rival.cost, "epochs": both, "verdict": ""})
    for name, row in _untrained(finding, leader).items():
        rows.append({"cell": name, "passes": row, "flops": None, "cost": math.nan, "epochs": "", "verdict": ""})
    return rows


def _untrained(finding: "Findings", leader: str) -> Mapping[str, Record]:
    """Raw pixels and random initialisation: their values beside the leader's on the same seeds."""
    measure, trials = METRICS[finding.metric], finding.trials
    rows = trials.loc[(trials["cell"] == leader) & (trials["status"] == "finished")]
    rows = rows.loc[rows["seed"].isin(finding.sweep.compared_seeds)]
    columns = {leader: measure.column, PIXELS: measure.pixels_column, RANDOM: measure.initial_column}
    values = [
        (name, int(row["seed"]), float(row[column]))
        for name, column in columns.items()
        if column in rows
        for row in rows.to_dict("records")
        if pd.notna(row[column])
    ]
    frame = values_frame(values)
    if frame.empty:
        return {}
    joined = means(frame).join(differences(frame, leader, measure.direction)).assign(planned=len(rows))
    return {name: joined.loc[name].to_dict() for name in (PIXELS, RANDOM) if name in joined.index}


def texts(row: Record, metric: str) -> Mapping[str, str]:
    """The cells of a row of `yardstick_rows` as text, by column's title."""
    passes, flops = row["passes"], row["flops"]
    return {
        "equal image passes": _measured(passes, metric),
        "difference to the leader": _difference(passes, metric),
        "equal FLOPs": _measured(flops, metric),
        "difference at equal FLOPs": _difference(flops, metric),
        COST: "" if math.isnan(row["cost"]) else f"{row['cost']:.2f} ×",
        "epochs": row["epochs"],
    }


def yardstick_key(row: Record, title: str) -> Any:
    """What sorts rows of `yardstick_rows` by the column of this title."""
    passes, flops = row["passes"] or {}, row["flops"] or {}
    return {
        "equal image passes": passes.get("mean", math.nan),
        "difference to the leader": passes.get("difference", math.nan),
        "equal FLOPs": flops.get("mean", math.nan),
        "difference at equal FLOPs": flops.get("difference", math.nan),
        COST: row["cost"],
        "epochs": row["epochs"],
    }[title]


def _measured(row: Any, metric: str) -> str:
    if row is None or pd.isna(row["mean"]):
        return ""
    return format.measured(row, metric) + (f" ({several(row['seeds'], 'seeds')})" if _lacks(row) else "")


def _lacks(row: Any) -> bool:
    return row["seeds"] < row["planned"]


def _difference(row: Any, metric: str) -> str:
    return "" if row is None else format.difference(row, metric)
