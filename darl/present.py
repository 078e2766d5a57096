"""Showing what a sweep has found on the terminal."""

import sys
from collections.abc import Sequence

import pandas as pd
from rich.console import Console

from darl.report import Findings, find, plain, search_summary, summary
from darl.results import Results
from darl.sweep import SWEEP_FILE, Search, Sweep, from_json

__all__ = ["findings_of", "present", "print_findings", "print_plain", "stages_of"]


def stages_of(results: Results) -> list[Sweep]:
    """The sweeps that the last command in a folder of results asked for; none where it tells of none."""
    text = results.text(SWEEP_FILE)
    return [] if text is None else from_json(text)


def findings_of(stages: Sequence[Sweep], trials: pd.DataFrame, metric: str | None = None) -> list[Findings]:
    """What was found by all sweeps of a folder, the last one first: it says what the others were for."""
    return [finding for stage in reversed(stages) for finding in find(stage, trials, metric)]


def present(stages: Sequence[Sweep], results: Results) -> None:
    """The end of a sweep: its answer on the terminal."""
    trials = results.trials()
    findings = findings_of(stages, trials)
    console = Console()
    print_findings(console, findings)
    shown = {trial for finding in findings for trial in finding.trials["trial_id"]}
    if shown and not shown >= set(trials["trial_id"]):
        console.print("(trials of other settings lie here too, and are not counted)", highlight=False)
    console.print(f"Tables: {results.path}\n", highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.trials_path}")', highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.curves_path}")', highlight=False, soft_wrap=True)
    statuses = {status for finding in findings for status in finding.trials["status"]}
    if statuses == {"failed"}:
        sys.exit(1)


def print_findings(console: Console, findings: Sequence[Findings]) -> None:
    """Tables, notes and sentences."""
    for finding in findings:
        console.print()
        if isinstance(finding.sweep, Search) and len(finding.found):
            console.print(search_summary(finding))
        if len(finding.table):
            console.print(summary(finding))
        for note in finding.notes:
            console.print(f"- {note}", highlight=False, markup=False)
        console.print(finding.sentence, highlight=False, markup=False, style="bold")


def print_plain(console: Console, trials: pd.DataFrame, metric: str) -> None:
    """The ranking of a folder that tells of no sweep."""
    table, sentence = plain(trials, metric)
    console.print(table)
    console.print(sentence, highlight=False, markup=False)
