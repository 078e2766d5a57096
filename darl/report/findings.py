"""From the table of trials to an answer: pure functions of frames.

The frame is what `darl.results.load` or `pandas.read_parquet` gives. `find` compares the cells of a sweep over their
seeds; trials that were stopped early or failed are counted, and never averaged with the finished ones. A folder that
tells of no sweep is ranked by configuration: `rank`.
"""

import json
import math
from dataclasses import dataclass

import pandas as pd

from darl import metrics
from darl.experiment import flatten, identity
from darl.metrics import is_loss, require_comparable
from darl.report import answer
from darl.sweep.base import ATTEMPTS, Sweep
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.statistics import differences, fallen, means
from darl.variants import Record, require

__all__ = ["Findings", "counts", "find", "gained", "rank"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a sweep's trials say, or those of one group of its cells.

    table: one row per cell, best first, those without all their seeds last and without a rank. Columns: `rank`, `cell`,
    `group`, what `darl.sweep.statistics.means` and `differences` give (to the baseline; whose own `verdict` is
    `baseline`), `planned` seeds, `lacks` (why it has fewer: a key of `darl.report.answer.LACKS`, or nothing),
    `complete` (it has them, or a race dropped it), `gain` over random initialisation (see `gained`), `knn_top1`,
    `seconds` a trial, `trials_seconds` in all. Of a search, it is over the fresh seeds: the search's own chose the
    contenders, so it flatters them.
    """

    sweep: Sweep
    metric: str
    """What is ranked by."""
    trials: pd.DataFrame
    """The sweep's own rows, the last attempt of each trial, with `cell`, and `final` where it is not tried again."""
    table: pd.DataFrame
    found: pd.DataFrame
    """Of a search: finished trials on its own seed, best first."""
    counts: dict[str, int]
    """Trials that are finished, stopped, failed (by last attempt), and missing (of a design)."""
    sentence: str
    """The answer."""
    notes: list[str]
    """What one should know beside it."""


def find(sweep: Sweep, trials: pd.DataFrame, metric: str | None = None) -> list[Findings]:
    """The findings on each group of a design's cells (usually one), or on a search.

    trials: the whole table of the sweep's folder. Raises UserError for a metric that does not order these trials.
    """
    metric = metric or sweep.metric
    _require_known(metric, trials)
    cells = pd.Series(sweep.labels(trials["config"]), trials.index, dtype="object")
    failures = trials.loc[trials["status"] == "failed", "trial_id"].value_counts()
    given_up = trials["trial_id"].isin(failures.index[failures >= ATTEMPTS])
    trials = trials.assign(cell=cells, final=(trials["status"] != "failed") | given_up)
    rows = _numeric(_last(trials.loc[cells.notna()]), metric, sweep.metric)
    _require_values(metric, rows)
    if isinstance(sweep, Design):
        groups: dict[str, list[str]] = {}
        for cell in sweep.cells:
            groups.setdefault(sweep.groups.get(cell, ""), []).append(cell)
        if sweep.across and not is_loss(metric):
            groups[sweep.across] = list(sweep.baselines.values())
        return [_of_design(sweep, rows, metric, group, cells) for group, cells in groups.items()]
    assert isinstance(sweep, Search)
    return [_of_search(sweep, rows, metric)]


def counts(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials are finished, stopped and failed, each by its last attempt."""
    status: list[str] = _last(trials)["status"].tolist()
    return {name: status.count(name) for name in ("finished", "stopped", "failed")}


def rank(trials: pd.DataFrame, metric: str = "probe_top1") -> pd.DataFrame:
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
    if "content_fingerprint" in fields and "data" not in fields:  # the address says more than numbers do
        records = [flatten(record) for record in whole]
        fields = ["data", *fields] if len({record["data"] for record in whole}) > 1 else fields
    alone = [{name: value for name, value in identity(record).items() if name != "seed"} for record in whole]
    texts = [json.dumps(record, sort_keys=True) for record in alone]
    values = {name: pd.Series([record.get(name) for record in records], rows.index) for name in fields}
    groups = rows.assign(**values).groupby(pd.Series(texts, rows.index, dtype="str"), sort=False)
    means_of = [name for name in _measures(metric) if name not in fields]
    table = groups.agg(dict.fromkeys(fields, "first") | dict.fromkeys(means_of, "mean"))
    table.insert(len(fields) + 1, "seeds", groups[metric].count())
    table = table.sort_values(metric, ascending=is_loss(metric), kind="stable").reset_index(drop=True)
    table.insert(0, "rank", range(1, len(table) + 1))
    return table


def _with_contents(records: list[Record]) -> list[Record]:
    """Records of older versions with the content of their data, where all others at that address agree on it."""
    known: dict[str, list[Record]] = {}
    for record in records:
        contents = known.setdefault(record["data"], [])
        if record.get("content") not in (None, *contents):
            contents.append(record["content"])
    only = {address: contents[0] for address, contents in known.items() if len(contents) == 1}
    return [record | {"content": record.get("content") or only.get(record["data"])} for record in records]


def gained(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """With `gain` over random initialisation: for a loss, of the linear probe; none where it was not measured then."""
    probe = "probe_top1" if is_loss(metric) else metric
    return rows.assign(gain=rows[probe] - rows[f"init_{probe}"] if f"init_{probe}" in rows else math.nan)


def _of_design(sweep: Design, rows: pd.DataFrame, metric: str, group: str, cells: list[str]) -> Findings:
    baseline = cells[0] if group == sweep.across else sweep.baselines.get(group, sweep.baseline)
    rows, notes = _planned(sweep, rows.loc[rows["cell"].isin(cells)], metric)
    table = _comparison(rows, cells, metric, baseline, sweep.seeds)
    number = counts(rows) | {"missing": len(cells) * sweep.seeds - len(rows)}
    said = answer.compared(table, metric) if any(table["seeds"]) else answer.nothing(number)
    said = f"{group}: {said}" if group else said
    found = _found(rows.head(0), metric)
    return Findings(sweep, metric, rows, table.assign(group=group), found, number, said, notes + _notes(table, rows))


def _of_search(sweep: Search, rows: pd.DataFrame, metric: str) -> Findings:
    rows, notes = _planned(sweep, rows, metric)
    fresh = rows.loc[rows["seed"] > sweep.base.seed]
    found = _found(rows.loc[rows["seed"] == sweep.base.seed], metric)
    racing, dropped = _race(sweep, rows, fresh)
    cells = list(dict.fromkeys([*racing, *fresh["cell"]])) if len(fresh) else []
    table = _comparison(fresh, cells, metric, sweep.baseline, sweep.seeds - 1).assign(group="")
    table["lacks"] = table["lacks"].mask((table["lacks"] != "") & ~table["cell"].isin(racing), "overtaken")
    table["lacks"] = table["lacks"].mask((table["lacks"] != "") & table["cell"].isin(dropped), "dropped")
    table["complete"] |= table["lacks"] == "dropped"
    table = table.sort_values("lacks", key=lambda lacks: lacks.isin(["overtaken", "dropped"]), kind="stable")
    table = table.reset_index(drop=True)
    open_cells = table.loc[table["lacks"] == "incomplete", "cell"]
    number = counts(rows) | {"missing": len(open_cells) * (sweep.seeds - 1) - int(fresh["cell"].isin(open_cells).sum())}
    over = len(table) > 0 and open_cells.empty
    if metric != sweep.metric and len(fresh):
        notes.append(f"the search and its race went by {metrics.metric_name(sweep.metric)}")
    said = answer.nothing(number)
    if len(found):
        said = answer.chosen(found, metric, sweep.baseline, sweep.seeds, over=over)
    if any(table["seeds"]):
        ahead = answer.AHEAD if table["cell"].iloc[0] in racing else answer.FORMER
        race = answer.compared(table, metric, "fresh seeds", "best after the race" if over else ahead)
        said = f"{said} {race}" if len(open_cells) and len(found) else race
    return Findings(sweep, metric, rows, table, found, number, said, notes + _notes(table, rows))


def _race(sweep: Search, rows: pd.DataFrame, fresh: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The cells of a race, and those of them that have fallen behind, as the search has it: by its own metric."""
    racing = [sweep.label_of(point) for point in sweep.racing(rows.to_dict("records"))] or [*fresh["cell"].unique()]
    values = _finished(fresh.loc[fresh["cell"].isin(racing)], sweep.metric)
    return racing, [*fallen(values, _mode(sweep.metric)) - {sweep.baseline}]


def _comparison(rows: pd.DataFrame, cells: list[str], metric: str, baseline: str | None, planned: int) -> pd.DataFrame:
    """`Findings.table` but for the group."""
    done = _finished(rows, metric)
    table = means(done).join(differences(done, baseline or "", _mode(metric))).reindex(pd.Index(cells, name="cell"))
    table["verdict"] = table["verdict"].fillna("inconclusive").mask(table.index == baseline, "baseline")
    table = table.fillna({"seeds": 0, "pairs": 0}).astype({"seeds": int, "pairs": int})
    table = table.join(done.groupby("cell").agg(dict.fromkeys(["gain", "knn_top1", "seconds"], "mean")))
    table = table.join(rows.groupby("cell").agg(trials_seconds=("seconds", "sum"))).fillna({"trials_seconds": 0.0})
    final = rows.loc[rows["final"]].groupby("cell").size().reindex(table.index, fill_value=0)
    table = table.assign(planned=planned, complete=table["seeds"] >= planned)
    table["lacks"] = final.ge(planned).map({True: "spent", False: "incomplete"}).mask(table["complete"], "")
    table = table.sort_values(["complete", "mean"], ascending=[False, is_loss(metric)]).reset_index()
    table.insert(0, "rank", pd.Series(range(1, len(table) + 1), dtype="Int64").where(table["complete"]))
    return table


def _finished(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The finished trials that have the metric, as `value`."""
    whole = (rows["status"] == "finished") & rows[metric].notna()
    return gained(rows.assign(value=rows[metric]).loc[whole], metric)


def _found(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    columns = ["cell", "value", "gain", "probe_top1", "init_probe_top1", "knn_top1", "seconds"]
    done = _finished(rows, metric).sort_values("value", ascending=is_loss(metric), kind="stable")
    return done.reset_index(drop=True).loc[:, columns]


def _planned(sweep: Sweep, rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows on the sweep's seeds, and a note on others: another search's own seed would pass for a fresh one."""
    first, last = sweep.base.seed, sweep.base.seed + sweep.seeds - 1
    own = rows.loc[rows["seed"].between(first, last)]
    experiments = sweep.experiments(own["config"])
    require_comparable(metric, [flatten(experiment.identity) for experiment in experiments if experiment is not None])
    others = len(rows) - len(own)
    said = f"trials on seeds other than {first} to {last} are left out: {others}"
    return own, [said] if others and sweep.seeds > 1 else []


def _notes(table: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    return [*answer.shortfalls(table), *answer.versions(rows), *answer.failures(rows)]


def _last(trials: pd.DataFrame) -> pd.DataFrame:
    """The last attempt of each trial."""
    return trials.sort_values("attempt", kind="stable").drop_duplicates("trial_id", keep="last").sort_index()


def _measures(metric: str) -> list[str]:
    names = (metric, "probe_top1", "knn_top1", "init_probe_top1", "init_knn_top1", "epochs", "seconds")
    return list(dict.fromkeys(names))


def _numeric(rows: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """A reader that finds nothing but nulls in a column does not know that they are numbers."""
    return rows.astype(dict.fromkeys([name for metric in metrics for name in _measures(metric)], "float64"))


def _mode(metric: str) -> str:
    return "min" if is_loss(metric) else "max"


def _require_known(metric: str, trials: pd.DataFrame) -> None:
    known = [name for name in trials.columns if name in metrics.METRIC_NAMES or name.startswith("val_loss_gamma_")]
    require(metric in known, "metric", f"be one of {', '.join(known)}", metric)


def _require_values(metric: str, rows: pd.DataFrame) -> None:
    done = rows.loc[rows["status"] == "finished", metric]
    given = len(done) == 0 or done.notna().any()
    require(bool(given), "metric", "have values; without labels there is val_loss to rank by", metric)
