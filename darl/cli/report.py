"""`darl report`: the answer that a sweep's tables give."""

import argparse
from typing import TYPE_CHECKING

from darl.errors import UserError, reason
from darl.variants import require

if TYPE_CHECKING:
    import pandas as pd


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl report`."""
    several = "a sweep's folder, RESULTS/SWEEP; also at s3:// or gs://; with --claims several"
    parser.add_argument("folders", metavar="results", nargs="+", help=several)
    default = "the metric that decided in the sweep; without a sweep's record, the first that was measured"
    parser.add_argument("--metric", help=f"metric to rank trials by (default: {default})")
    parser.add_argument("--html", metavar="FILE", help="also write the report as one HTML file, figures included")
    parser.add_argument("--figures", metavar="FOLDER", help="also write its figures, as PNG files")
    claims = "what the tables say of each claim of a TOML file (the paper's: sweeps/claims.toml), in the answer's place"
    parser.add_argument("--claims", metavar="FILE", help=claims)
    parser.add_argument("--markdown", metavar="FILE", help="with --claims: write the table as Markdown")


def run(flags: argparse.Namespace) -> None:
    """Print the answer that a sweep's tables give; `--html` and `--figures` also write files."""
    require(flags.claims is not None or flags.markdown is None, "markdown", "come with --claims", flags.markdown)
    if flags.claims is not None:
        others = flags.html or flags.figures or flags.metric
        require(not others, "claims", "come without --html, --figures and --metric", flags.claims)
        return _compare_with_claims(flags)
    require(len(flags.folders) == 1, "results", "be one folder, or several with --claims", " ".join(flags.folders))
    return _answer(flags, flags.folders[0])


def _answer(flags: argparse.Namespace, folder: str) -> None:
    from darl.metrics import PROBE, RANKING_METRICS
    from darl.report.collect import findings_of, stages_of
    from darl.report.terminal import print_findings, print_ranking, wide_console
    from darl.results.tables import Results, load, require_sweep
    from darl.storage.address import parent_and_name

    results = Results(*parent_and_name(folder))
    require_sweep(results.path)
    trials, console = load(results.trials_path), wide_console()
    stages, files = stages_of(results), flags.html or flags.figures
    if not stages:
        require(not files, "results", "be of a sweep: only its report has figures", folder)
        measured = [name for name in RANKING_METRICS if name in trials and len(trials[name].dropna())]
        return print_ranking(console, trials, flags.metric or (measured or [PROBE.column])[0])
    curves = results.curves()
    findings = findings_of(stages, trials, curves, flags.metric)
    print_findings(console, findings)
    if not files:
        return None
    from darl.report.figures import draw_all
    from darl.report.publish import write_figures, write_page

    drawn = draw_all(findings, curves)
    if flags.figures:
        write_figures(drawn, flags.figures)
        print(flags.figures)
    if flags.html:
        write_page(findings, curves, flags.html, drawn, results)
        print(flags.html)
    return None


def _compare_with_claims(flags: argparse.Namespace) -> None:
    """Print what the tables say of each claim, or write it as Markdown."""
    import shlex
    from pathlib import Path

    from darl.report.claims import read_claims
    from darl.report.reproduction import HEADERS, markdown, table_rows
    from darl.report.terminal import print_rows, wide_console
    from darl.results.tables import Results, load, require_sweep
    from darl.storage.address import parent_and_name

    try:
        claims = read_claims(Path(flags.claims).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"must be a file that can be read, got {flags.claims!r} ({reason(error)})", field="claims"
        ) from None
    tables: dict[str, pd.DataFrame] = {}
    for folder in flags.folders:
        results = Results(*parent_and_name(folder))
        require_sweep(results.path)
        tables[folder] = load(results.trials_path)
    if flags.markdown is None:
        return print_rows(wide_console(), "Claims", HEADERS, table_rows(claims, tables))
    command = shlex.join(["darl", "report", *flags.folders, "--claims", flags.claims, "--markdown", flags.markdown])
    try:
        Path(flags.markdown).write_text(markdown(claims, tables, command), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"must be a writable file, got {flags.markdown!r} ({reason(error)})", field="markdown"
        ) from None
    print(flags.markdown)
    return None
