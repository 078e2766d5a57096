"""From the table of trials to an answer: pure functions of frames.

The frame is what `darl.results.load` or `pandas.read_parquet` gives. `find` compares the cells of a sweep over their
seeds; a cell is a set of trials that differ only in their seed. Trials that were stopped early or failed are counted,
and never averaged with the finished ones. `rank` orders a folder without a sweep's record by configuration.
"""

import json
import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from darl.aspects import Aspect
from darl.experiment import Experiment, identity
from darl.metrics import KNN, METRICS, PROBE, VALIDATION_LOSS
from darl.records import flatten
from darl.report import answer
from darl.report.judgement import compare, select
from darl.report.scaling import scale
from darl.report.verdict import NextStep, Nothing, Standing, Verdict
from darl.report.yardsticks import NOTE, compare_rivals
from darl.sweep.base import ATTEMPTS, Comparison, Sweep
from darl.sweep.comparability import require_comparable
from darl.sweep.statistics import FEWEST, differences, means
from darl.variants import Record, require

__all__ = ["Findings", "counts", "find", "gained", "rank"]


@dataclass(frozen=True, eq=False)
class Findings:
    """The findings on one comparison of a sweep's cells.

    table: one row per cell, best first, cells without all their seeds last and without a rank. Columns: `rank`, `cell`,
    `group`, the columns of `darl.sweep.statistics.means` and `differences` (to the baseline, whose own `verdict` is
    `baseline`), `planned` seeds, `lacks` (why seeds are missing: a key of `darl.report.answer.LACKS`, or empty),
    `complete` (all seeds have run, or a race dropped the cell), `gain` over random initialisation and `over_pixels`
    (see `gained`), `knn_top1`, `seconds` per trial, `trials_seconds` in all. The table of a search holds fresh seeds
    only: contenders look better than they are on the seed that selected them.
    """

    sweep: Sweep
    comparison: Comparison
    metric: str
    """The column that cells are ranked by."""
    trials: pd.DataFrame
    """The sweep's own rows: the last attempt of each trial, with `cell`, and `final` if it is not tried again."""
    table: pd.DataFrame
    found: pd.DataFrame
    """The finished trials of a search on its own seed, best first; empty for other sweeps."""
    counts: dict[str, int]
    """Number of trials that are finished, stopped, failed (by last attempt), and missing (of incomplete cells)."""
    verdicts: tuple[Verdict, ...]
    """Usually one verdict; for a search whose race has not ended two, on the search and on the race so far."""
    notes: list[str]
    """Notes that accompany the answer."""

    @property
    def baseline(self) -> str | None:
        """The cell that the others are compared with; None if it has no trial."""
        name = self.comparison.baseline
        return name if name in set(self.trials["cell"]) else None

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """An experiment of each cell that has trials, in a design's own order."""
        rows = self.trials.drop_duplicates("cell")
        read = zip(rows["cell"], self.sweep.experiments(rows["config"]), strict=True)
        by_cell = {str(cell): experiment for cell, experiment in read if experiment is not None}
        order = list(self.sweep.fixed_cells) or list(by_cell)
        return {cell: by_cell[cell] for cell in order if cell in by_cell}

    @property
    def sentence(self) -> str:
        """The answer in words."""
        return answer.answer(self.verdicts, self.comparison.group)


def find(sweep: Sweep, trials: pd.DataFrame, metric: str | None = None) -> list[Findings]:
    """The findings on each comparison of a sweep: each group of a design's cells (usually one), or a search's race.

    trials: the whole table of the sweep's folder. Raises UserError for a metric that cannot compare these trials.
    """
    metric = metric or sweep.metric
    _require_known(metric, trials)
    cells = pd.Series(sweep.labels(trials["config"]), trials.index, dtype="object")
    failures = trials.loc[trials["status"] == "failed", "trial_id"].value_counts()
    given_up = trials["trial_id"].isin(failures.index[failures >= ATTEMPTS])
    trials = trials.assign(cell=cells, final=(trials["status"] != "failed") | given_up)
    rows = _numeric(_last(trials.loc[cells.notna()]), metric, sweep.metric)
    _require_values(metric, rows)
    comparisons = sweep.comparisons(rows.loc[rows["seed"].isin(sweep.all_seeds)].to_dict("records"))
    return [
        _compared(
            sweep, rows if len(comparisons) == 1 else rows.loc[rows["cell"].isin(comparison.cells)], metric, comparison
        )
        for comparison in comparisons
        if not (comparison.accuracies_only and Aspect.INPUT in METRICS[metric].not_across)
    ]


def counts(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials are finished, stopped and failed, each by its last attempt."""
    status: list[str] = _last(trials)["status"].tolist()
    return {name: status.count(name) for name in ("finished", "stopped", "failed")}


def rank(trials: pd.DataFrame, metric: str = PROBE.column) -> pd.DataFrame:
    """Finished configurations, best first: rank, the fields that vary, the metric's mean, `seeds`, and other means.

    A configuration is a record without its seed and, where its data's content is known, without the data's address.
    Raises UserError for a metric that does not order these trials.
    """
    _require_known(metric, trials)
    rows = _numeric(_last(trials.loc[trials["status"] == "finished"]), metric)
    _require_values(metric, rows)
    whole = _with_contents([json.loads(text) for text in rows["config"]])
    records = [flatten(identity(record)) for record in whole]
    fields = require_comparable(metric, records)
    if "content_fingerprint" in fields and "data" not in fields:  # addresses are easier to read than fingerprints
        records = [flatten(record) for record in whole]
        fields = ["data", *fields] if len({record["data"] for record in whole}) > 1 else fields
    alone = [{name: value for name, value in identity(record).items() if name != "seed"} for record in whole]
    texts = [json.dumps(record, sort_keys=True) for record in alone]
    values = {name: pd.Series([record.get(name) for record in records], rows.index) for name in fields}
    groups = rows.assign(**values).groupby(pd.Series(texts, rows.index, dtype="str"), sort=False)
    means_of = [name for name in _measures(metric) if name in rows and name not in fields]
    table = groups.agg(dict.fromkeys(fields, "first") | dict.fromkeys(means_of, "mean"))
    table.insert(len(fields) + 1, "seeds", groups[metric].count())
    ascending = not METRICS[metric].higher_is_better
    table = table.sort_values(metric, ascending=ascending, kind="stable").reset_index(drop=True)
    table.insert(0, "rank", range(1, len(table) + 1))
    return table


def _with_contents(records: list[Record]) -> list[Record]:
    """Fill in the content of data in records of older versions, if all other records at that address agree on it."""
    known: dict[str, list[Record]] = {}
    for record in records:
        contents = known.setdefault(record["data"], [])
        if record.get("content") not in (None, *contents):
            contents.append(record["content"])
    only = {address: contents[0] for address, contents in known.items() if len(contents) == 1}
    return [record | {"content": record.get("content") or only.get(record["data"])} for record in records]


def gained(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows with their distances from the yardsticks: `gain` over random initialisation, and `over_pixels`.

    They are those of the linear probe for a loss, and NaN where a yardstick was not measured.
    """
    by = METRICS[METRICS[metric].gain_by or metric]
    yardsticks = {"gain": by.initial_column, "over_pixels": by.pixels_column}
    known = {name: rows[by.column] - rows[column] for name, column in yardsticks.items() if column in rows}
    return rows.assign(**{**dict.fromkeys(yardsticks, math.nan), **known})


def _compared(sweep: Sweep, rows: pd.DataFrame, metric: str, comparison: Comparison) -> Findings:
    rows, notes = _on_own_seeds(sweep, rows, metric)
    compared = rows.loc[rows["seed"].isin(sweep.compared_seeds)]
    found = _found(rows.loc[rows["seed"].isin(sweep.selection_seeds)], metric)
    table = _table(compared, comparison, metric, len(sweep.compared_seeds))
    waiting = table.loc[table["lacks"] == "incomplete", "cell"]
    missing = len(waiting) * len(sweep.compared_seeds) - int(compared["cell"].isin(waiting).sum())
    number = counts(rows) | {"missing": missing}
    if comparison.race and metric != sweep.metric and len(compared):
        notes.append(f"the search and its race went by {METRICS[sweep.metric].name}")
    verdicts = _verdicts(sweep, metric, comparison, table, found, compared) or (
        Nothing(failed=number["failed"], stopped=number["stopped"]),
    )
    notes += [NOTE] if comparison.rivals else []
    notes += [*answer.shortfalls(table), *answer.versions(rows), *answer.failures(rows)]
    return Findings(sweep, comparison, metric, rows, table, found, number, verdicts, notes)


def _verdicts(
    sweep: Sweep, metric: str, comparison: Comparison, table: pd.DataFrame, found: pd.DataFrame, trials: pd.DataFrame
) -> tuple[Verdict, ...]:
    """The verdicts: on the search while its race is open, and on the comparison once a cell has a mean."""
    verdicts: tuple[Verdict, ...] = ()
    has_mean, is_open = any(table["seeds"]), any(table["lacks"] == "incomplete")
    if comparison.scaling and metric == sweep.metric and has_mean:
        return (scale(table, trials, comparison, metric),)
    more_seeds = sweep.seeds_for(FEWEST)
    if len(found) and (is_open or not has_mean):
        then = NextStep.RACE_AHEAD if len(sweep.compared_seeds) else NextStep.NO_RACE
        if len(table) and not is_open:
            then = NextStep.RACE_WITHOUT_RESULT
        verdicts += (select(found, metric, comparison.baseline, then, more_seeds),)
    leader = comparison.baseline
    if comparison.rivals and leader is not None and leader in set(table.loc[table["seeds"] > 0, "cell"]):
        return (compare_rivals(table, comparison.rivals, leader, metric, sweep.seed_noun, more_seeds),)
    if has_mean:
        standing = _standing(comparison, str(table["cell"].iloc[0]), is_open=is_open)
        verdicts += (compare(table, metric, standing, seed_noun=sweep.seed_noun, more_seeds=more_seeds),)
    return verdicts


def _standing(comparison: Comparison, leader: str, *, is_open: bool) -> Standing:
    """The standing of a leader that has all its seeds."""
    if not comparison.race:
        return Standing.COMPLETE
    if not is_open:
        return Standing.RACE_OVER
    return Standing.RACE_LEFT if comparison.left.get(leader) == "overtaken" else Standing.RACE_OPEN


def _table(rows: pd.DataFrame, comparison: Comparison, metric: str, planned: int) -> pd.DataFrame:
    """The table described at `Findings.table`."""
    done, baseline, cells = _finished(rows, metric), comparison.baseline, comparison.cells
    against = differences(done, baseline or "", METRICS[metric].direction)
    table = means(done).join(against).reindex(pd.Index(cells, name="cell"))
    table["verdict"] = table["verdict"].fillna("inconclusive").mask(table.index == baseline, "baseline")
    table = table.fillna({"seeds": 0, "pairs": 0}).astype({"seeds": int, "pairs": int})
    table = table.join(done.groupby("cell").agg(dict.fromkeys(["gain", "over_pixels", KNN.column, "seconds"], "mean")))
    table = table.join(rows.groupby("cell").agg(trials_seconds=("seconds", "sum"))).fillna({"trials_seconds": 0.0})
    final = rows.loc[rows["final"]].groupby("cell").size().reindex(table.index, fill_value=0)
    table = table.assign(planned=planned, complete=table["seeds"] >= planned)
    table["lacks"] = final.ge(planned).map({True: "spent", False: "incomplete"}).mask(table["complete"], "")
    ascending = [False, not METRICS[metric].higher_is_better]
    table = table.sort_values(["complete", "mean"], ascending=ascending).reset_index()
    table.insert(0, "rank", pd.Series(range(1, len(table) + 1), dtype="Int64").where(table["complete"]))
    return _without_left(table, comparison).assign(group=comparison.group)


def _without_left(table: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Move cells that get no more seeds to the end, with the reason; those that a race has dropped are complete."""
    reasons = [comparison.left.get(cell, "") for cell in table["cell"]]
    left = pd.Series(reasons, table.index, dtype="str").where(table["lacks"] != "", "")
    table["lacks"] = table["lacks"].mask(left != "", left)
    table["complete"] |= left == "dropped"
    order = (left != "").argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _finished(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The finished trials that have the metric, with the metric as `value`."""
    whole = (rows["status"] == "finished") & rows[metric].notna()
    return gained(rows.assign(value=rows[metric]).loc[whole], metric)


def _found(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    columns = ["cell", "value", "gain", "over_pixels", PROBE.column, PROBE.initial_column, KNN.column, "seconds"]
    ascending = not METRICS[metric].higher_is_better
    done = _finished(rows, metric).sort_values("value", ascending=ascending, kind="stable")
    return done.reset_index(drop=True).loc[:, columns]


def _on_own_seeds(sweep: Sweep, rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows on the sweep's seeds, and a note on rows of other seeds, such as another search's own seed."""
    own = rows.loc[rows["seed"].isin(sweep.all_seeds)]
    experiments = sweep.experiments(own["config"])
    require_comparable(metric, [flatten(experiment.identity) for experiment in experiments if experiment is not None])
    others, first, last = len(rows) - len(own), sweep.all_seeds[0], sweep.all_seeds[-1]
    note = f"trials on seeds other than {first} to {last} are left out: {others}"
    return own, [note] if others and sweep.seeds > 1 else []


def _last(trials: pd.DataFrame) -> pd.DataFrame:
    """The last attempt of each trial."""
    return trials.sort_values("attempt", kind="stable").drop_duplicates("trial_id", keep="last").sort_index()


def _measures(metric: str) -> list[str]:
    by = METRICS[METRICS[metric].gain_by or metric]
    shown = (metric, PROBE.column, KNN.column, PROBE.initial_column, KNN.initial_column, "epochs", "seconds")
    return list(dict.fromkeys([*shown, by.column, by.initial_column, by.pixels_column]))


def _numeric(rows: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """Rows with metrics as floats: a Parquet reader does not know that a column of nulls alone holds numbers.

    A run from given weights (`init`) has no value of random initialisation.
    """
    known = [name for metric in metrics for name in _measures(metric) if name in rows]
    rows = rows.astype(dict.fromkeys(known, "float64")).copy()  # in one piece: pandas warns of more than 100
    if "init" in rows:
        initial = [metric.initial_column for metric in METRICS.values() if metric.initial_column in rows]
        rows.loc[rows["init"].notna(), initial] = math.nan
    return rows


def _require_known(metric: str, trials: pd.DataFrame) -> None:
    known = [name for name in trials.columns if name in METRICS]
    require(metric in known, "metric", f"be one of {', '.join(known)}", metric)


def _require_values(metric: str, rows: pd.DataFrame) -> None:
    done = rows.loc[rows["status"] == "finished", metric]
    given = len(done) == 0 or done.notna().any()
    remedy = (
        f"have values; without labels there is {VALIDATION_LOSS.column} to rank by, and trials that have finished are "
        "not measured again (take a folder of another name, or evaluate their checkpoints)"
    )
    require(bool(given), "metric", remedy, metric)
