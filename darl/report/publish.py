"""Publishing the findings of a sweep: on the terminal, as figures, and as one HTML page."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from darl.errors import UserError, reason
from darl.report import html
from darl.report.collect import findings_of
from darl.report.figures import ReportFigure, draw_all, is_ours, save
from darl.report.findings import Findings
from darl.report.terminal import print_findings, wide_console
from darl.results.tables import FIGURES, Results
from darl.storage.address import below, is_remote
from darl.sweep.base import Sweep

__all__ = ["PAGE_FILE", "present", "write_figures", "write_page"]

PAGE_FILE = "report.html"
"""The file of the page in RESULTS/SWEEP, next to `figures/`."""


def present(stages: Sequence[Sweep], results: Results, *, files: bool = True) -> bool:
    """Print a sweep's answer and, with `files`, write page and figures beside the tables.

    Returns whether there is no trial yet, or one that did not fail.
    """
    trials, curves = results.trials(), results.curves()
    findings = findings_of(stages, trials, curves)
    console = wide_console()
    print_findings(console, findings)
    if files and any(len(finding.trials) for finding in findings):
        drawn = draw_all(findings, curves)
        results.write_file(PAGE_FILE, html.render(findings, curves, drawn, _from_here(results)).encode())
        with tempfile.TemporaryDirectory() as folder:
            for path in save(drawn, folder):
                results.write_file(f"{FIGURES}/{path.name}", path.read_bytes())
        new = {f"{figure.name}.png" for figure in drawn}
        results.delete_files(FIGURES, lambda name: is_ours(name) and name not in new)  # figures of an earlier command
        console.print(f"\nReport: {below(results.path, PAGE_FILE)}", highlight=False, soft_wrap=True)
    console.print(f"Tables: {results.path}\n", highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.trials_path}")', highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.curves_path}")', highlight=False, soft_wrap=True)
    statuses = {status for finding in findings for status in finding.trials["status"]}
    return statuses != {"failed"}


def _from_here(results: Results) -> str:
    """The folder of results, relative to the working folder if it is below that."""
    if is_remote(results.path):
        return results.path
    path, here = Path(results.path).absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def write_figures(drawn: list[ReportFigure], folder: str) -> None:
    """Write the figures to a folder of the user's choice; raises UserError if that fails."""
    try:
        save(drawn, folder)
    except OSError as error:
        raise UserError(f"must be a writable folder, got {folder!r} ({reason(error)})", field="figures") from None


def write_page(
    findings: Sequence[Findings], curves: pd.DataFrame, file: str, drawn: list[ReportFigure], results: Results
) -> None:
    """Write the page to a file of the user's choice; raises UserError if that fails."""
    try:
        Path(file).write_text(html.render(findings, curves, drawn, _from_here(results)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"must be a writable file, got {file!r} ({reason(error)})", field="html") from None
