"""Findings as tables for the terminal."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from darl.metrics import KNN, METRICS, PROBE
from darl.report import answer, format
from darl.report.findings import Findings, counts, gained, rank
from darl.report.judgement import rank_best
from darl.report.verdict import Nothing, Verdict
from darl.report.yardsticks import COST, texts, yardstick_rows
from darl.variants import Record

__all__ = [
    "WIDE",
    "print_findings",
    "print_ranking",
    "print_rows",
    "ranking",
    "search_summary",
    "summary",
    "wide_console",
    "yardsticks_summary",
]

WIDE = 132
"""The width in characters of a table with all its columns."""

_TESTED = 100
"""The width in characters from which a table shows p and verdict."""


def summary(findings: Findings, *, width: int = WIDE) -> Table:
    """The comparison for the terminal; cells without all their seeds come last, marked and without a rank.

    It has no rows for a search whose race has not begun. width: characters that the table may take; a narrow one shows
    only the columns that the answer is based on.
    """
    metric, side = findings.metric, _side(findings.metric) if width >= WIDE else {}
    tests = ("p\n(Holm)", "verdict") if width >= _TESTED else ()
    against = ("difference\n(95 %)", *tests) if findings.baseline else ()
    headers = ("", "cell", METRICS[metric].name, "seeds", *against, *side)
    more = "" if width >= WIDE else "; a wider terminal shows more"
    caption = answer.counted(findings.counts) + more
    table = _empty(f"{findings.comparison.title} by {METRICS[metric].name}", caption, headers)
    for row in findings.table.to_dict("records"):
        verdict = row["verdict"] if row["pairs"] or row["verdict"] == "baseline" else ""
        apart = (format.difference(row, metric), format.probability(row["p_holm"]), verdict)[: len(against)]
        shown = (
            format.value(row["rank"]) or "–",
            escape(row["cell"]),
            format.measured(row, metric),
            format.seeds(row),
        )
        table.add_row(*shown, *apart, *(show(row) for show in side.values()))
    return table


def yardsticks_summary(findings: Findings, *, width: int = WIDE) -> Table:
    """The leader beside its rivals, raw pixels and random initialisation, for the terminal.

    width: characters that the table may take; a narrow one shows only the differences to the leader, and the costs.
    """
    metric, rows = findings.metric, [(row["cell"], texts(row, findings.metric)) for row in yardstick_rows(findings)]
    narrow = [*[title for title in rows[0][1] if title.startswith("difference")], COST]
    titles = list(rows[0][1]) if width >= WIDE else narrow
    headers = ("yardstick", *(_BROKEN.get(title, title) for title in titles))
    more = "" if width >= WIDE else "; a wider terminal shows more"
    title = f"{findings.comparison.title} by {METRICS[metric].name}"
    table = _empty(title, answer.counted(findings.counts) + more, headers)
    for name, shown in rows:
        table.add_row(escape(name), *(shown[title] for title in titles))
    return table


_BROKEN = {
    "equal image passes": "equal image\npasses", "difference to the leader": "difference\nto the leader",
    "difference at equal FLOPs": "difference\nat equal FLOPs", COST: "FLOPs per\nimage",
}  # fmt: skip
"""Titles of the yardsticks' columns, in two lines."""


def search_summary(findings: Findings, top: int = 10) -> Table:
    """The best points of a search on its one seed; finished trials only."""
    metric, found, side = findings.metric, findings.found, _side(findings.metric)
    title = f"Search by {METRICS[metric].name}, one seed each: the best {min(top, len(found))} of {len(found)}"
    table = _empty(title, answer.counted(findings.counts), ("", "cell", METRICS[metric].name, *side))
    for rank_of, row in enumerate(found.head(top).to_dict("records"), start=1):
        table.add_row(
            str(rank_of),
            escape(row["cell"]),
            format.score(row["value"], metric),
            *(show(row) for show in side.values()),
        )
    return table


def ranking(trials: pd.DataFrame, metric: str = PROBE.column, top: int = 10) -> tuple[Table, str]:
    """The ranking by configuration for the terminal, and the answer, for a folder without a sweep's record."""
    ranked, side = rank(trials, metric), _side(metric)
    fields = list(ranked.columns[1 : list(ranked.columns).index(metric)])
    rows = gained(ranked, metric).assign(planned=ranked["seeds"].max()).to_dict("records")
    title = f"Configurations by {METRICS[metric].name}: the best {min(top, len(rows))} of {len(rows)}"
    number = counts(trials)
    caption = "; ".join([answer.counted(number), *answer.versions(trials)])
    table = _empty(title, caption, ("", *fields, METRICS[metric].name, "seeds", *side))
    for row in rows[:top]:
        shown = [format.value(row[name]) for name in ("rank", *fields)]
        table.add_row(
            *shown, format.score(row[metric], metric), format.seeds(row), *(show(row) for show in side.values())
        )
    nothing = Nothing(failed=number["failed"], stopped=number["stopped"])
    verdict: Verdict = rank_best(rows, fields, metric) if rows else nothing
    return table, answer.sentences(verdict)


def print_rows(console: Console, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts, whose lines may break."""
    table = Table(title=escape(title), show_lines=True)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _empty(title: str, caption: str, headers: Sequence[str]) -> Table:
    """A table without rows."""
    table = Table(title=escape(title), caption=caption)
    for header in headers:
        words = header in ("cell", "yardstick", "verdict")
        table.add_column(header, justify="left" if words else "right", no_wrap=header not in ("cell", "yardstick"))
    return table


def _side(metric: str) -> dict[str, Callable[[Record], str]]:
    """The columns that every table has in addition to the metric, by header."""
    side: dict[str, Callable[[Record], str]] = {
        KNN.name: lambda row: KNN.format_value(row[KNN.column]),
        "over raw\npixels": lambda row: format.points(row["over_pixels"]),
        "over\nrandom": lambda row: format.points(row["gain"]),
        "time": lambda row: format.seconds(row["seconds"]),
    }
    return {header: show for header, show in side.items() if header != METRICS[metric].name}


def wide_console() -> Console:
    """A console of the terminal's width, or wide enough for whole tables if output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=max(WIDE, console.width))


def print_findings(console: Console, findings: Sequence[Findings]) -> None:
    """Print tables, notes and sentences; a concluding sweep (`Sweep.concludes`) comes last, but for the yardsticks."""
    several = len({finding.sweep.question for finding in findings}) > 1
    for finding in sorted(findings, key=lambda finding: (bool(finding.comparison.rivals), finding.sweep.concludes)):
        console.print()
        if several:
            console.print(finding.sweep.question, highlight=False, markup=False, style="bold underline")
        if len(finding.found):
            console.print(search_summary(finding))
        if len(finding.table):
            shown = yardsticks_summary if finding.comparison.rivals else summary
            console.print(shown(finding, width=console.width))
        for note in finding.notes:
            console.print(f"- {note}", highlight=False, markup=False)
        console.print(finding.sentence, highlight=False, markup=False, style="bold")


def print_ranking(console: Console, trials: pd.DataFrame, metric: str) -> None:
    """Print the ranking of a folder without a sweep's record, one for each data set."""
    sets = _by_data(trials)
    for own in sets or [trials]:
        table, sentence = ranking(own, metric)
        if len(sets) > 1:
            console.print(f"data: {own['data'].iloc[0]}", highlight=False, markup=False)
        console.print(table)
        console.print(sentence, highlight=False, markup=False)


def _by_data(trials: pd.DataFrame) -> list[pd.DataFrame]:
    """The trials of each data set. Rows without the data's content belong to the data at the same address."""
    addresses: list[str] = trials["data"].tolist()
    fingerprints: list[Any] = trials["content_fingerprint"].tolist()
    known = {data: content for data, content in zip(addresses, fingerprints, strict=True) if pd.notna(content)}
    keys = [
        known.get(data, data) if pd.isna(content) else content
        for data, content in zip(addresses, fingerprints, strict=True)
    ]
    return [own for _, own in trials.groupby(pd.Series(keys, trials.index, dtype="object"), sort=False)]
