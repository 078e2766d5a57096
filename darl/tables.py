"""Findings as tables for the terminal."""

from collections.abc import Callable, Sequence

import pandas as pd
from rich.markup import escape
from rich.table import Table

from darl import wording
from darl.report import Findings, counts, gained, rank
from darl.sweep import Search
from darl.variants import Record
from darl.wording import metric_name

__all__ = ["WIDE", "plain", "search_summary", "summary"]

WIDE = 132
"""Characters that a whole table takes."""
_TESTED = 100
"""Characters from which there is room for p and verdict."""


def summary(findings: Findings, *, width: int = WIDE) -> Table:
    """The comparison for the terminal; cells without all their seeds stand last, marked and without a rank.

    Without rows for a search whose race has not begun. width: characters that it may take; with few of them it shows
    no more than what the answer rests on.
    """
    metric, side = findings.metric, _side(findings.metric) if width >= WIDE else {}
    tested = wording.baseline_of(findings.table) is not None
    title = next((group for group in findings.table["group"] if group), "Cells")
    title = "Best again on fresh seeds" if isinstance(findings.sweep, Search) else title
    against = ("difference\n(95 %)", *(("p\n(Holm)", "verdict") if width >= _TESTED else ())) if tested else ()
    headers = ("", "cell", metric_name(metric), "seeds", *against, *side)
    more = "" if width >= WIDE else "; a wider terminal shows more"
    table = _empty(f"{title} by {metric_name(metric)}", _caption(findings) + more, headers)
    for row in findings.table.to_dict("records"):
        verdict = row["verdict"] if row["pairs"] or row["verdict"] == "baseline" else ""
        apart = (wording.difference(row, metric), wording.probability(row["p_holm"]), verdict)[: len(against)]
        shown = (
            wording.value(row["rank"]) or "–",
            escape(row["cell"]),
            wording.measured(row, metric),
            wording.seeds(row),
        )
        table.add_row(*shown, *apart, *(show(row) for show in side.values()))
    return table


def search_summary(findings: Findings, top: int = 10) -> Table:
    """The best points that a search has found, on its one seed: whole trials only."""
    metric, found, side = findings.metric, findings.found, _side(findings.metric)
    title = f"Found by {metric_name(metric)}, one seed each: the best {min(top, len(found))} of {len(found)}"
    table = _empty(title, _caption(findings), ("", "cell", metric_name(metric), *side))
    for place, row in enumerate(found.head(top).to_dict("records"), start=1):
        table.add_row(
            str(place), escape(row["cell"]), wording.score(row["value"], metric), *(show(row) for show in side.values())
        )
    return table


def plain(trials: pd.DataFrame, metric: str = "probe_top1", top: int = 10) -> tuple[Table, str]:
    """The ranking by configuration for the terminal, and the answer: for a folder that tells of no sweep."""
    ranked, side = rank(trials, metric), _side(metric)
    fields = list(ranked.columns[1 : list(ranked.columns).index(metric)])
    rows = gained(ranked, metric).assign(planned=ranked["seeds"].max()).to_dict("records")
    title = f"Configurations by {metric_name(metric)}: the best {min(top, len(rows))} of {len(rows)}"
    caption = "; ".join([wording.counted(counts(trials)), *wording.versions(trials)])
    table = _empty(title, caption, ("", *fields, metric_name(metric), "seeds", *side))
    for row in rows[:top]:
        shown = [wording.value(row[name]) for name in ("rank", *fields)]
        table.add_row(
            *shown, wording.score(row[metric], metric), wording.seeds(row), *(show(row) for show in side.values())
        )
    return table, wording.ranking(rows, fields, metric) if rows else wording.nothing(counts(trials))


def _caption(findings: Findings) -> str:
    return "; ".join([wording.counted(findings.counts), *wording.versions(findings.trials)])


def _empty(title: str, caption: str, headers: Sequence[str]) -> Table:
    """A table to be filled."""
    table = Table(title=escape(title), caption=caption)
    for header in headers:
        words = header in ("cell", "verdict")
        table.add_column(header, justify="left" if words else "right", no_wrap=header != "cell")
    return table


def _side(metric: str) -> dict[str, Callable[[Record], str]]:
    """What every table says beside the metric, by header."""
    side: dict[str, Callable[[Record], str]] = {
        "kNN": lambda row: wording.percent(row["knn_top1"]),
        "gain\n(points)": lambda row: wording.points(row["gain"]),
        "time": lambda row: wording.seconds(row["seconds"]),
    }
    return {header: show for header, show in side.items() if header != metric_name(metric)}
