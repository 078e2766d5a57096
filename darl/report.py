"""From the table of trials to an answer: pure functions of a frame.

The frame is what `darl.results.load` or `pandas.read_parquet` gives. Finished trials are compared by configuration: the
record without its seed, averaged over seeds. Trials that were stopped early or failed are counted, and never averaged
with the finished ones.
"""

import json
from typing import Any

import pandas as pd
from rich.table import Table

from darl.config import flatten
from darl.errors import UserError
from darl.variants import Record, require

__all__ = ["PAPER", "answer", "counts", "rank", "summary"]

PAPER: Record = {"noise": "beta", "noise_a": 0.03, "noise_b": 1.0}
"""The best noise schedule of Li et al. (2024)."""

_NAMES = {"probe_top1": "linear probe", "knn_top1": "kNN", "val_loss": "validation loss", "train_loss": "training loss"}

_TRAINING = ("noise", "objective"), "a noisier schedule has a larger loss, whatever the model has learned"
_VALIDATION = ("objective_normalize_target",), "the targets are not the same"
"""What a loss is not comparable across, and why."""


def counts(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials are finished, stopped and failed, each by its last attempt."""
    status: list[str] = _last(trials)["status"].tolist()
    return {name: status.count(name) for name in ("finished", "stopped", "failed")}


def rank(trials: pd.DataFrame, metric: str = "probe_top1") -> pd.DataFrame:
    """Finished configurations, best first: rank, the fields that vary, the metric's mean, `seeds`, and other means.

    Accuracies rank from the largest and losses from the smallest. Raises UserError for a metric that does not order
    these trials.
    """
    return _ranking(trials, metric).reset_index(drop=True)


def summary(trials: pd.DataFrame, metric: str = "probe_top1", *, top: int = 10) -> Table:
    """The best configurations for the terminal, each beside the same model before training."""
    ranked = _ranking(trials, metric)
    fields, losses = _fields(ranked, metric), [metric] if _is_loss(metric) else []
    table = Table(title=f"Best by {_name(metric)}", caption=_caption(trials, len(ranked), top))
    for header in ("", *fields, *map(_name, losses), "probe", "random init", "gain", "kNN", "seeds", "time"):
        table.add_column(header, justify="right")
    for row in ranked.head(top).to_dict("records"):
        gain = row["probe_top1"] - row["init_probe_top1"]
        cells = [_text(row[name]) for name in ("rank", *fields, *losses)]
        cells += [_percent(row["probe_top1"]), _percent(row["init_probe_top1"]), _percent(gain, "+")]
        cells += [_percent(row["knn_top1"]), _seeds(row["seeds"], ranked), f"{row['seconds']:.0f} s"]
        table.add_row(*cells)
    return table


def answer(trials: pd.DataFrame, metric: str = "probe_top1", baseline: Record = PAPER) -> str:
    """One sentence: the best configuration, its score, and its gain over no training and over the baseline.

    baseline: the columns of the record that tell it; of several configurations that have them, the best.
    """
    ranked = _ranking(trials, metric)
    if ranked.empty:
        return "No trial has finished yet, so there is nothing to compare."
    best: Record = ranked.head(1).to_dict("records")[0]
    what = ", ".join(f"{name} {_text(best[name])}" for name in _fields(ranked, metric)) or "the only configuration"
    parts = [f"Best of {len(ranked)} by {_name(metric)}: {what} with {_score(best[metric], metric)}"]
    parts += _over_init(best, metric) + _over_baseline(ranked, metric, baseline)
    return ", ".join(parts) + f"; {_hedge(ranked)}."


def _ranking(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`rank`, with each configuration's record as the index."""
    known = [name for name in trials.columns if name in _NAMES or name.startswith("val_loss_gamma_")]
    require(metric in known, "metric", f"be one of {', '.join(known)}", metric)
    rows = _last(trials.loc[trials["status"] == "finished"])
    records = [flatten(json.loads(text)) for text in rows["config"]]
    fields = _varying(records)
    _require_comparable(metric, fields)
    measures = [metric, *(name for name in ("probe_top1", "knn_top1") if name != metric), "init_probe_top1"]
    measures += [name for name in ("init_knn_top1", "epochs", "seconds") if name not in fields]
    rows = rows.astype(dict.fromkeys(measures, "float64"))
    given = rows.empty or metric in rows.dropna(axis="columns", how="all").columns
    require(given, "metric", "have values; without labels there is val_loss to rank by", metric)
    values = {name: pd.Series([record.get(name) for record in records], rows.index) for name in fields}
    texts = [json.dumps({name: value for name, value in record.items() if name != "seed"}) for record in records]
    rows = rows.assign(**values, configuration=texts)
    groups = rows.groupby("configuration", sort=False)
    table = groups.agg(dict.fromkeys(fields, "first") | dict.fromkeys(measures, "mean"))
    table.insert(len(fields) + 1, "seeds", groups[metric].count())
    table = table.sort_values(metric, ascending=_is_loss(metric), kind="stable")
    table.insert(0, "rank", range(1, len(table) + 1))
    return table


def _last(trials: pd.DataFrame) -> pd.DataFrame:
    """The last attempt of each trial."""
    return trials.sort_values("attempt", kind="stable").drop_duplicates("trial_id", keep="last").sort_index()


def _varying(records: list[Record]) -> list[str]:
    """The fields that differ between records, `seed` aside."""
    names = dict.fromkeys(name for record in records for name in record if name != "seed")
    return [name for name in names if len({record.get(name) for record in records}) > 1]


def _require_comparable(metric: str, varying: list[str]) -> None:
    if not _is_loss(metric):
        return
    fields, why = _TRAINING if metric == "train_loss" else _VALIDATION
    bent = [name for name in varying if name.startswith(fields)]
    if bent:
        instead = "probe_top1, knn_top1 or val_loss" if metric == "train_loss" else "probe_top1 or knn_top1"
        raise UserError(
            f"metric must be comparable between trials, got {metric!r} where {', '.join(bent)} differ: "
            f"{why}; rank by {instead}"
        )


def _fields(ranked: pd.DataFrame, metric: str) -> list[str]:
    """The varying fields: they stand between the rank and the metric."""
    names = list(ranked.columns)
    return names[1 : names.index(metric)]


def _over_init(best: Record, metric: str) -> list[str]:
    probe, whose = ("probe_top1", "its linear probe ") if _is_loss(metric) else (metric, "")
    gain = best[probe] - best[f"init_{probe}"]
    return [] if pd.isna(gain) else [f"{whose}{_points(gain)} random initialisation"]


def _over_baseline(ranked: pd.DataFrame, metric: str, baseline: Record) -> list[str]:
    is_baseline = [baseline.items() <= json.loads(text).items() for text in ranked.index]
    if not any(is_baseline) or all(is_baseline):
        return []
    values = ", ".join(_text(value) for value in baseline.values())
    name = f"the paper's ({values})" if baseline == PAPER else f"the baseline ({values})"
    if is_baseline[0]:
        return [f"which is {name}"]
    gain = ranked[metric].iloc[0] - ranked[metric].iloc[is_baseline.index(True)]
    return [f"{abs(gain):.3g} below {name}" if _is_loss(metric) else f"{_points(gain)} {name}"]


def _hedge(ranked: pd.DataFrame) -> str:
    seeds: list[int] = ranked["seeds"].tolist()
    if len(ranked) == 1:
        return "there is nothing to compare it with"
    if max(seeds) == 1:
        return "each ran with one seed, so the differences are not tested and the best of many looks better than it is"
    mean = f"mean of {seeds[0]} seeds" if seeds[0] == max(seeds) else f"incomplete, {seeds[0]} of {max(seeds)} seeds"
    return f"{mean}, and the differences are not tested"


def _caption(trials: pd.DataFrame, ranked: int, top: int) -> str:
    number = counts(trials)
    parts = [f"{number['finished']} finished, {number['stopped']} stopped early, {number['failed']} failed"]
    versions = len(trials[["darl_version", "git_commit"]].drop_duplicates())
    parts += [f"top {top} of {ranked} configurations"] if ranked > top else []
    parts += [f"from {versions} versions of the code"] if versions > 1 else []
    return "; ".join(parts)


def _is_loss(metric: str) -> bool:
    return not metric.endswith("_top1")


def _name(metric: str) -> str:
    return _NAMES.get(metric, metric)


def _score(value: float, metric: str) -> str:
    return f"{value:.4g}" if _is_loss(metric) else _percent(value)


def _percent(fraction: float, sign: str = "") -> str:
    return "" if pd.isna(fraction) else f"{100 * fraction:{sign}.1f} %"


def _points(gain: float) -> str:
    return f"{abs(100 * gain):.1f} points {'below' if gain < 0 else 'above'}"


def _seeds(count: int, ranked: pd.DataFrame) -> str:
    """A configuration with fewer seeds than another is incomplete, and says so."""
    most = max(ranked["seeds"].tolist())
    return str(count) if count == most else f"{count} of {most}"


def _text(value: Any) -> str:
    """A number by its first digits; nothing for a field that the configuration does not have."""
    if isinstance(value, str | bool):
        return str(value)
    return "" if pd.isna(value) else f"{value:.4g}"
