"""Showing what a sweep has found: on the terminal, as pictures, and as one page of HTML."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from darl import page
from darl.config import Experiment, flatten
from darl.errors import UserError
from darl.figures import Picture, is_ours, pictures, save
from darl.pilot import verdict
from darl.place import below, reason
from darl.report import Findings, find
from darl.results import FIGURES, Results
from darl.sweep import SWEEP_FILE, Design, Search, Sweep, from_json
from darl.tables import WIDE, plain, search_summary, summary
from darl.variants import Record

__all__ = [
    "PAGE_FILE",
    "findings_of",
    "present",
    "print_findings",
    "print_plain",
    "stages_of",
    "wide_console",
    "write_page",
    "write_pictures",
]

PAGE_FILE = "report.html"
"""In RESULTS/SWEEP, beside `figures/`."""


def stages_of(results: Results) -> list[Sweep]:
    """The sweeps that the last command in a folder of results asked for; none where it tells of none."""
    text = results.text(SWEEP_FILE)
    return [] if text is None else from_json(text)


def findings_of(
    stages: Sequence[Sweep], trials: pd.DataFrame, curves: pd.DataFrame, metric: str | None = None
) -> list[Findings]:
    """What was found by all sweeps of a folder, a design before the searches that it was made of."""
    found: list[Findings] = []
    for stage in stages:
        theirs = {trial for finding in found for trial in finding.trials["trial_id"]}
        own = trials["seed"].between(stage.base.seed, stage.base.seed + stage.seeds - 1)
        found += find(stage, trials.loc[own | ~trials["trial_id"].isin(list(theirs))], metric)
    for finding in found:
        finding.notes.extend(_on_the_way(finding, trials, curves))
    found = sorted(found, key=lambda finding: isinstance(finding.sweep, Search))
    cells = zip(*(stage.labels(trials["config"]) for stage in stages), strict=True)
    others = [config for config, own in zip(trials["config"], cells, strict=True) if all(cell is None for cell in own)]
    found[0].notes.extend([_left_out(stages, others)] if others else [])
    return found


def _left_out(stages: Sequence[Sweep], configs: list[str]) -> str:
    """A note on rows of other settings: in which fields they differ from the sweep that is nearest to each."""
    values: dict[str, set[str]] = {}
    for experiment in stages[0].experiments(configs):
        if experiment is not None:
            for name, value in min((_apart(stage, experiment) for stage in stages), key=len).items():
                values.setdefault(name, set()).add(str(value))
    named = [
        f"{name} {next(iter(some))}" if len(some) == 1 else f"{len(some)} other values of {name}"
        for name, some in values.items()
    ]
    which = f" ({', '.join(named)}); run with those settings, the sweep reports them" if named else ""
    return f"rows of other settings lie here too, and are not counted: {len(configs)}{which}"


def _apart(stage: Sweep, experiment: Experiment) -> Record:
    """The fields, but for those that a sweep varies, in which an experiment is not like its base."""
    cells = stage.cells.values() if isinstance(stage, Design) else []
    paths = stage.space if isinstance(stage, Search) else [path for cell in cells for path in cell]
    varied = ("seed", *(path.replace(".", "_") for path in paths))
    base = flatten(stage.base.to_record())
    return {
        name: value
        for name, value in flatten(experiment.to_record()).items()
        if value != base.get(name) and not name.startswith(varied)
    }


def _on_the_way(finding: Findings, trials: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """A search's pilot, and the answer on enlarged images where a design has measured it."""
    sweep = finding.sweep
    if isinstance(sweep, Search) and sweep.early and sweep.rungs and len(finding.trials):
        pilot = verdict(sweep, trials, curves)
        few = f"fewer than {sweep.pilot} trials have finished whole, too few for a pilot: none was stopped early"
        return [few if pilot is None else pilot.describe()]
    enlarged = "probe_top1_enlarged"
    if sweep.enlarged and finding.metric == sweep.metric and not finding.trials[enlarged].dropna().empty:
        same = [one for one in find(sweep, trials, enlarged) if set(one.table["cell"]) == set(finding.table["cell"])]
        return [f"on images 1.5 times as large: {one.sentence}" for one in same]
    return []


def present(stages: Sequence[Sweep], results: Results, *, files: bool = True) -> None:
    """The end of a sweep: its answer on the terminal and, with `files`, page and pictures beside the tables."""
    trials, curves = results.trials(), results.curves()
    findings = findings_of(stages, trials, curves)
    console = wide_console()
    print_findings(console, findings)
    if files and any(len(finding.trials) for finding in findings):
        drawn = pictures(findings, curves)
        results.keep(PAGE_FILE, page.render(findings, curves, drawn, _from_here(results)).encode())
        with tempfile.TemporaryDirectory() as place:
            for path in save(drawn, place):
                results.keep(f"{FIGURES}/{path.name}", path.read_bytes())
        new = {f"{picture.name}.png" for picture in drawn}
        results.drop(FIGURES, lambda name: is_ours(name) and name not in new)  # of what was asked here before
        console.print(f"\nReport: {below(results.path, PAGE_FILE)}", highlight=False, soft_wrap=True)
    console.print(f"Tables: {results.path}\n", highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.trials_path}")', highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.curves_path}")', highlight=False, soft_wrap=True)
    statuses = {status for finding in findings for status in finding.trials["status"]}
    if statuses == {"failed"}:
        sys.exit(1)


def _from_here(results: Results) -> str:
    """The folder of results as one who works in this folder would name it."""
    if "://" in results.path:
        return results.path
    path, here = Path(results.path).absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def wide_console() -> Console:
    """The terminal's width, or enough for whole tables where it goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=max(WIDE, console.width))


def print_findings(console: Console, findings: Sequence[Findings]) -> None:
    """Tables, notes and sentences; searches before the design that was made of what they found."""
    several = len({finding.sweep.question for finding in findings}) > 1
    for finding in sorted(findings, key=lambda finding: isinstance(finding.sweep, Design)):
        console.print()
        if several:
            console.print(finding.sweep.question, highlight=False, markup=False, style="bold underline")
        if isinstance(finding.sweep, Search) and len(finding.found):
            console.print(search_summary(finding))
        if len(finding.table):
            console.print(summary(finding, width=console.width))
        for note in finding.notes:
            console.print(f"- {note}", highlight=False, markup=False)
        console.print(finding.sentence, highlight=False, markup=False, style="bold")


def print_plain(console: Console, trials: pd.DataFrame, metric: str) -> None:
    """The ranking of a folder that tells of no sweep."""
    table, sentence = plain(trials, metric)
    console.print(table)
    console.print(sentence, highlight=False, markup=False)


def write_pictures(drawn: list[Picture], folder: str) -> None:
    """The pictures in a folder of the user's choice; raises UserError where it cannot be written."""
    try:
        save(drawn, folder)
    except OSError as error:
        raise UserError(f"--figures must be a folder that can be written, got {folder!r} ({reason(error)})") from None


def write_page(
    findings: Sequence[Findings], curves: pd.DataFrame, file: str, drawn: list[Picture], results: Results
) -> None:
    """The page as a file of the user's choice; raises UserError where it cannot be written."""
    try:
        Path(file).write_text(page.render(findings, curves, drawn, _from_here(results)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--html must be a file that can be written, got {file!r} ({reason(error)})") from None
