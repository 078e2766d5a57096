"""`--yardsticks`: one more stage, which compares the leader of a sweep with other ways of training its encoder."""

from typing import TYPE_CHECKING

from darl.cli.flags import Options
from darl.sweep.base import Sweep
from darl.sweep.yardsticks import Leader, Yardsticks, yardsticks

if TYPE_CHECKING:
    import pandas as pd

    from darl.cli.stages import Stages
    from darl.report.findings import Findings

__all__ = ["beside_the_leader"]


def beside_the_leader(options: Options, stages: "Stages", trials: "pd.DataFrame") -> list[Yardsticks]:
    """The yardsticks of the sweep that the command answers with: the last of its stages.

    trials: the table `trials` of the stages' folder; where it is empty, the sweep's base stands for the leader. There
    are none where no cell has a result.
    """
    sweep = stages[-1]
    leaders = _leaders(sweep, trials) if len(trials) else _stand_ins(sweep)
    if not leaders:
        print("no yardsticks: no cell has a result", flush=True)
    return [yardsticks(sweep, leaders)] if leaders else []


def _leaders(sweep: Sweep, trials: "pd.DataFrame") -> list[Leader]:
    """The best cell on each data set: of all its groups, those with all their seeds first."""
    from darl.report.findings import find

    best: dict[str, tuple[tuple[bool, float], Leader]] = {}
    for finding in find(sweep, trials):
        if (led := _leader(finding)) is not None:
            standing, leader = led
            data = sweep.experiment(leader.point).data
            if data not in best or standing > best[data][0]:
                best[data] = (standing, leader)
    return [leader for _, leader in best.values()]


def _leader(finding: "Findings") -> tuple[tuple[bool, float], Leader] | None:
    """The best cell of a comparison, and how it stands: whether it has all its seeds, and its mean (larger: better)."""
    sweep = finding.sweep
    valued = finding.table.loc[finding.table["mean"].notna()]
    if valued.empty:
        return None
    row = valued.iloc[0]
    label, sign = str(row["cell"]), 1 if sweep.mode == "max" else -1
    point = sweep.fixed_cells.get(label)
    if point is None:
        point = sweep.point_of(finding.experiments[label])
    return None if point is None else ((bool(row["complete"]), sign * float(row["mean"])), Leader(label, point))


def _stand_ins(sweep: Sweep) -> list[Leader]:
    """A cell on each data set in the leader's place, before any trial has run."""
    cells = sweep.fixed_cells or {"": {}}
    chosen = [label for label in cells if label == sweep.baseline_of(label)] or list(cells)[:1]
    by_data = {sweep.experiment(cells[label]).data: Leader("the leader", cells[label]) for label in reversed(chosen)}
    names = {data: f"the leader on {data}" if len(by_data) > 1 else "the leader" for data in by_data}
    return [Leader(names[data], leader.point) for data, leader in by_data.items()]
