"""The report as one HTML file that loads nothing from the network.

The order is: answer, ranked cells, notes, figures, settings and versions. `darl.report.answer` has the words. The
template engine escapes every text of a user or a trial, and the page's content security policy allows no script but the
page's own, which it identifies by hash.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd

from darl import __version__
from darl.metrics import KNN, METRICS, Metric
from darl.records import flatten
from darl.report import answer, format
from darl.report.figures import ReportFigure, draw_all, headings
from darl.report.findings import Findings
from darl.report.yardsticks import texts, yardstick_key, yardstick_rows
from darl.variants import Record

__all__ = ["render"]

_FOUND = 30
"""Number of a search's trials that the page shows; the tables hold all of them."""


@dataclass(frozen=True)
class Column:
    """A column that can be sorted: `text` shows a row's value, `key` sorts rows."""

    title: str
    text: Callable[[Record], str]
    key: Callable[[Record], Any]
    number: bool = True
    names: bool = False
    """Whether its cells are the headers of the rows."""
    first: str = "descending"
    """The direction of the first sort."""


@dataclass(frozen=True)
class Row:
    """A text and a sort key for each column."""

    cells: list[tuple[str, str]]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted."""

    caption: str
    columns: list[Column]
    rows: list[Row]
    folded: bool = False
    ranked: bool = True
    """Whether its rows are sorted by its first column."""


@dataclass(frozen=True)
class Section:
    """The part of the page on one of the findings."""

    heading: str
    question: str
    sentence: str
    counts: str
    notes: list[str]
    tables: list[Table]
    figures: list[ReportFigure] = field(default_factory=list[ReportFigure])


@dataclass(frozen=True)
class Facts:
    """A table of names and values."""

    caption: str
    rows: list[tuple[str, str]]


def render(
    findings: Sequence[Findings],
    curves: pd.DataFrame,
    shown: Sequence[ReportFigure] | None = None,
    folder: str | None = None,
) -> str:
    """The whole page.

    findings: the findings on all sweeps of a folder, at least one. shown: the figures, if they are drawn already.
    folder: the folder of the tables as the page names it (default `results/NAME`).
    """
    drawn = draw_all(findings, curves) if shown is None else shown
    trials = pd.concat([finding.trials for finding in findings]).drop_duplicates(["trial_id", "attempt"])
    names = headings(findings)
    last = findings[0].sweep  # the other sweeps led to this one
    template = _environment().from_string(files("darl.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        name=last.name,
        question=last.question,
        overview=[figure for figure in drawn if len(findings) > 1 and not figure.heading],
        sections=[_section(*pair, last.question, drawn) for pair in zip(findings, names, strict=True)],
        about=_about(findings, trials),
        failures=_failures(trials),
        snippet=_snippet(findings[0], folder or f"results/{last.name}"),
        version=__version__,
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.globals.update(digest=_digest, zip=zip)
    return environment


def _digest(text: str) -> str:
    """The hash by which a content security policy identifies an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _section(finding: Findings, heading: str, question: str, drawn: Iterable[ReportFigure]) -> Section:
    tables = [_comparison(finding)] if len(finding.table) else []
    if finding.comparison.rivals and tables:
        tables = [_yardsticks(finding), replace(tables[0], folded=True)]
    if len(finding.found):
        tables.append(_found(finding, folded=bool(tables)))
    return Section(
        heading=heading,
        question="" if finding.sweep.question == question else finding.sweep.question,
        sentence=finding.sentence,
        counts=f"{answer.counted(finding.counts)}.",
        notes=finding.notes,
        tables=tables,
        figures=[figure for figure in drawn if figure.heading == heading],
    )


def _comparison(finding: Findings) -> Table:
    measure = METRICS[finding.metric]
    columns = [
        Column("rank", lambda row: format.value(row["rank"]), lambda row: row["rank"], first="ascending"),
        _name("cell"),
        Column(
            f"{measure.name} (95\u00a0%)",
            lambda row: format.measured(row, measure.column),
            lambda row: row["mean"],
            first=_better_first(measure),
        ),
        Column("seeds", format.seeds, lambda row: row["seeds"], number=False),
        *(_differences(finding.baseline, measure) if finding.baseline else []),
        *_costs(),
        Column("total time", lambda row: format.seconds(row["trials_seconds"]), lambda row: row["trials_seconds"]),
    ]
    caption = (
        f"On fresh seeds, best first, by {measure.name}"
        if finding.comparison.race
        else f"Best first, by {measure.name}"
    )
    return Table(caption, columns, [_row(row, columns) for row in finding.table.to_dict("records")])


def _yardsticks(finding: Findings) -> Table:
    """The leader beside its rivals, raw pixels and random initialisation, in the order of presentation."""
    rows = yardstick_rows(finding)

    def column(title: str) -> Column:
        shown = {row["cell"]: texts(row, finding.metric)[title] for row in rows}
        keys = {row["cell"]: yardstick_key(row, title) for row in rows}
        return Column(title, lambda row: shown[row["cell"]], lambda row: keys[row["cell"]])

    columns = [_name("yardstick"), *map(column, texts(rows[0], finding.metric))]
    caption = f"{finding.comparison.title} by {METRICS[finding.metric].name} (95\u00a0%)"
    return Table(caption, columns, [_row(row, columns) for row in rows], ranked=False)


def _differences(baseline: str, measure: Metric) -> list[Column]:
    """The columns on each cell's difference to the baseline."""
    return [
        Column(
            f"difference to {baseline} (95\u00a0%)",
            lambda row: format.difference(row, measure.column),
            lambda row: row["difference"],
            first=_better_first(measure),
        ),
        Column("p (Holm)", lambda row: format.probability(row["p_holm"]), lambda row: row["p_holm"], first="ascending"),
        Column("verdict", lambda row: row["verdict"], lambda row: row["verdict"], number=False, first="ascending"),
    ]


def _found(finding: Findings, *, folded: bool) -> Table:
    measure, found = METRICS[finding.metric], finding.found
    columns = [
        Column("rank", lambda row: str(row["rank"]), lambda row: row["rank"], first="ascending"),
        _name("point"),
        _value(measure),
        *_costs(),
    ]
    rows = found.assign(rank=range(1, len(found) + 1)).head(_FOUND).to_dict("records")
    caption = f"Search by {measure.name}, one seed each: the best {len(rows)} of {len(found)}"
    return Table(caption, columns, [_row(row, columns) for row in rows], folded)


def _name(title: str) -> Column:
    return Column(title, lambda row: row["cell"], lambda row: row["cell"], number=False, names=True, first="ascending")


def _value(measure: Metric) -> Column:
    return Column(
        measure.name,
        lambda row: measure.format_value(row["value"]),
        lambda row: row["value"],
        first=_better_first(measure),
    )


def _better_first(measure: Metric) -> str:
    return "descending" if measure.higher_is_better else "ascending"


def _costs() -> list[Column]:
    return [
        Column(KNN.name, lambda row: KNN.format_value(row[KNN.column]), lambda row: row[KNN.column]),
        Column("over raw pixels", lambda row: format.points(row["over_pixels"]), lambda row: row["over_pixels"]),
        Column("over random", lambda row: format.points(row["gain"]), lambda row: row["gain"]),
        Column("time", lambda row: format.seconds(row["seconds"]), lambda row: row["seconds"], first="ascending"),
    ]


def _row(row: Record, columns: list[Column]) -> Row:
    kinds = {"baseline": row.get("verdict") == "baseline", "incomplete": not row.get("complete", True)}
    kind = " ".join(name for name, holds in kinds.items() if holds)
    return Row([(column.text(row), _key(column.key(row))) for column in columns], kind)


def _key(value: Any) -> str:
    """The sort key for the page's script: a text, a number as text, or nothing for a missing value."""
    return value if isinstance(value, str) else "" if pd.isna(value) else str(float(value))


def _about(findings: Sequence[Findings], trials: pd.DataFrame) -> list[Facts]:
    sweeps = list({id(finding.sweep): finding.sweep for finding in findings}.values())
    facts = [Facts("Trials and versions", list(_provenance(trials).items()))]
    for sweep in sweeps:
        of = f": {sweep.question}" if len(sweeps) > 1 else ""
        facts.append(Facts(f"{sweep.settings_title}{of}", sweep.settings_rows()))
        settings = [(name, format.value(value)) for name, value in flatten(sweep.base.to_record()).items()]
        facts.append(Facts(f"Base settings, which a cell or point may override{of}", settings))
    return facts


def _provenance(trials: pd.DataFrame) -> dict[str, str]:
    """Counts, times and versions of trials; columns that the table lacks are left out."""
    status = trials["status"].value_counts()
    shown = {"trials": ", ".join(f"{count} {name}" for name, count in status.items())}
    spent = sum(trials["seconds"].dropna().tolist())
    shown["time"] = f"{spent / 3600:.2f} hours in all"
    titles = {
        "darl_version": "darl", "git_commit": "commit", "torch_version": "torch", "device": "device", "host": "host",
    }  # fmt: skip
    for column, title in titles.items():
        values = trials[column].dropna().unique() if column in trials else []
        if len(values):
            shown[title] = ", ".join(map(str, values))
    started = trials["started_at"].dropna() if "started_at" in trials else []
    if len(started):
        shown["started"] = f"{min(started):%Y-%m-%d %H:%M} to {max(started):%Y-%m-%d %H:%M} UTC"
    return shown


def _failures(trials: pd.DataFrame) -> list[tuple[str, str, str]]:
    rows = trials.loc[trials["status"] == "failed"].to_dict("records")
    return [(row["trial_id"], str(row["cell"]), str(row["error"] or "")) for row in rows]


def _snippet(finding: Findings, folder: str) -> str:
    """Python code that reads the tables."""
    return (
        "import pandas as pd\n\n"
        f"trials = pd.read_parquet({json.dumps(f'{folder}/trials')})   # one row per attempt of a trial\n"
        f"curves = pd.read_parquet({json.dumps(f'{folder}/curves')})   # one row per evaluation\n"
        'finished = trials[trials.status == "finished"]\n'
        f"finished.sort_values({json.dumps(finding.metric)}, ascending={not METRICS[finding.metric].higher_is_better})"
    )
