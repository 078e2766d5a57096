"""The report as one HTML file that loads nothing from the network.

The answer stands first, then the ranked cells, notes on them, the pictures, and what was run. The words are those of
`darl.report.answer`. Every text of a user or a trial is escaped by the template engine, and the
page's policy runs no script but its own, known by its hash.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd

from darl import __version__
from darl.experiment import flatten
from darl.metrics import KNN, METRICS, Metric
from darl.report import answer, format
from darl.report.figures import ReportFigure, headings, pictures
from darl.report.figures.looks import baseline_of
from darl.report.findings import Findings
from darl.variants import Record

__all__ = ["render"]

_FOUND = 30
"""Of a search's trials, in the page; all are in the tables."""


@dataclass(frozen=True)
class Column:
    """A column that can be sorted: what it shows of a row, and by what it sorts."""

    title: str
    text: Callable[[Record], str]
    key: Callable[[Record], Any]
    number: bool = True
    names: bool = False
    """Whether its texts name the rows."""
    first: str = "descending"
    """The direction in which it is sorted first."""


@dataclass(frozen=True)
class Row:
    """Texts and keys by column."""

    cells: list[tuple[str, str]]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted."""

    caption: str
    columns: list[Column]
    rows: list[Row]
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """What the page says about one of the findings."""

    heading: str
    question: str
    sentence: str
    counts: str
    notes: list[str]
    tables: list[Table]
    pictures: list[ReportFigure] = field(default_factory=list[ReportFigure])


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    caption: str
    rows: list[tuple[str, str]]


def render(
    findings: Sequence[Findings],
    curves: pd.DataFrame,
    shown: Sequence[ReportFigure] | None = None,
    folder: str | None = None,
) -> str:
    """The whole page.

    findings: at least one, as `find` gives them, of all sweeps of a folder. shown: the pictures, if they are drawn
    already. folder: the folder of the tables, as readers would name it (default `results/NAME`).
    """
    drawn = pictures(findings, curves) if shown is None else shown
    trials = pd.concat([one.trials for one in findings]).drop_duplicates(["trial_id", "attempt"])
    names = headings(findings)
    last = findings[0].sweep  # the others led to it
    template = _environment().from_string(files("darl.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        name=last.name,
        question=last.question,
        overview=[picture for picture in drawn if len(findings) > 1 and not picture.heading],
        sections=[_section(one, name, last.question, drawn) for one, name in zip(findings, names, strict=True)],
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
    """How a content security policy knows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _section(one: Findings, heading: str, question: str, drawn: Iterable[ReportFigure]) -> Section:
    tables = [_comparison(one)] if len(one.table) else []
    if len(one.found):
        tables.append(_found(one, folded=bool(tables)))
    return Section(
        heading=heading,
        question="" if one.sweep.question == question else one.sweep.question,
        sentence=one.sentence,
        counts=f"{answer.counted(one.counts)}.",
        notes=one.notes,
        tables=tables,
        pictures=[picture for picture in drawn if picture.heading == heading],
    )


def _comparison(one: Findings) -> Table:
    measure, against = METRICS[one.metric], baseline_of(one)
    better = "descending" if measure.higher_is_better else "ascending"
    columns = [
        Column("rank", lambda row: format.value(row["rank"]), lambda row: row["rank"], first="ascending"),
        _name("cell"),
        Column(
            f"{measure.name} (95\u00a0%)",
            lambda row: format.measured(row, measure.column),
            lambda row: row["mean"],
            first=better,
        ),
        Column("seeds", format.seeds, lambda row: row["seeds"], number=False),
    ]
    if against:
        columns += [
            Column(
                f"to {against} (95\u00a0%)",
                lambda row: format.difference(row, measure.column),
                lambda row: row["difference"],
                first=better,
            ),
            Column(
                "p (Holm)", lambda row: format.probability(row["p_holm"]), lambda row: row["p_holm"], first="ascending"
            ),
            Column("verdict", lambda row: row["verdict"], lambda row: row["verdict"], number=False, first="ascending"),
        ]
    spent = Column("in all", lambda row: format.seconds(row["trials_seconds"]), lambda row: row["trials_seconds"])
    columns += [*_costs(), spent]
    caption = f"{'On fresh seeds, b' if one.comparison.race else 'B'}est first, by {measure.name}"
    return Table(caption, columns, [_row(row, columns) for row in one.table.to_dict("records")])


def _found(one: Findings, *, folded: bool) -> Table:
    measure = METRICS[one.metric]
    columns = [
        Column("rank", lambda row: str(row["rank"]), lambda row: row["rank"], first="ascending"),
        _name("point"),
        _value(measure),
        *_costs(),
    ]
    rows = one.found.assign(rank=range(1, len(one.found) + 1)).head(_FOUND).to_dict("records")
    caption = f"Found by the search, on one seed: the best {len(rows)} of {len(one.found)}, by {measure.name}"
    return Table(caption, columns, [_row(row, columns) for row in rows], folded)


def _name(title: str) -> Column:
    return Column(title, lambda row: row["cell"], lambda row: row["cell"], number=False, names=True, first="ascending")


def _value(measure: Metric) -> Column:
    better = "descending" if measure.higher_is_better else "ascending"
    return Column(measure.name, lambda row: measure.text(row["value"]), lambda row: row["value"], first=better)


def _costs() -> list[Column]:
    return [
        Column(KNN.name, lambda row: KNN.text(row[KNN.column]), lambda row: row[KNN.column]),
        Column("gain (points)", lambda row: format.points(row["gain"]), lambda row: row["gain"]),
        Column("time", lambda row: format.seconds(row["seconds"]), lambda row: row["seconds"], first="ascending"),
    ]


def _row(row: Record, columns: list[Column]) -> Row:
    kinds = {"baseline": row.get("verdict") == "baseline", "incomplete": not row.get("complete", True)}
    kind = " ".join(name for name, holds in kinds.items() if holds)
    return Row([(column.text(row), _key(column.key(row))) for column in columns], kind)


def _key(value: Any) -> str:
    """For the script: a number as it is written, nothing for what is not there."""
    return value if isinstance(value, str) else "" if pd.isna(value) else str(float(value))


def _about(findings: Sequence[Findings], trials: pd.DataFrame) -> list[Facts]:
    sweeps = list({id(one.sweep): one.sweep for one in findings}.values())
    facts = [Facts("Trials and versions", list(_provenance(trials).items()))]
    for sweep in sweeps:
        of = f": {sweep.question}" if len(sweeps) > 1 else ""
        facts.append(Facts(f"{sweep.settings_title}{of}", sweep.settings_rows()))
        settings = [(name, _setting(value)) for name, value in flatten(sweep.base.to_record()).items()]
        facts.append(Facts(f"Settings where a cell or point sets no other{of}", settings))
    return facts


def _provenance(trials: pd.DataFrame) -> dict[str, str]:
    """Counts, times and versions; what a table lacks is left out."""
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


def _setting(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _failures(trials: pd.DataFrame) -> list[tuple[str, str, str]]:
    rows = trials.loc[trials["status"] == "failed"].to_dict("records")
    return [(row["trial_id"], str(row["cell"]), str(row["error"] or "")) for row in rows]


def _snippet(one: Findings, folder: str) -> str:
    """Code that reads the tables."""
    return (
        "import pandas as pd\n\n"
        f"trials = pd.read_parquet({json.dumps(f'{folder}/trials')})   # one row per attempt of a trial\n"
        f"curves = pd.read_parquet({json.dumps(f'{folder}/curves')})   # one row per report\n"
        'finished = trials[trials.status == "finished"]\n'
        f"finished.sort_values({json.dumps(one.metric)}, ascending={not METRICS[one.metric].higher_is_better})"
    )
