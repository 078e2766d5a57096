"""`darl report`: the answer of a sweep's tables."""

import argparse

from darl.metrics import PROBE
from darl.report.collect import findings_of, stages_of
from darl.report.figures import pictures
from darl.report.publish import write_page, write_pictures
from darl.report.terminal import print_findings, print_plain, wide_console
from darl.results.tables import Results, require_sweep
from darl.results.tables import load as load_table
from darl.storage.address import parent_and_name
from darl.variants import require


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl report`."""
    parser.add_argument("results", help="a sweep's folder, RESULTS/SWEEP")
    parser.add_argument("--metric", help="what is ranked by, if not what the sweep was judged by")
    parser.add_argument("--html", metavar="FILE", help="also write the report as one HTML file, pictures and all")
    parser.add_argument("--figures", metavar="FOLDER", help="also write its pictures, as PNG files")


def run(flags: argparse.Namespace) -> None:
    """Print the answer of a sweep's tables; with `--html` and `--figures` write it too."""
    results = Results(*parent_and_name(flags.results))
    require_sweep(results.path)
    trials, console = load_table(results.trials_path), wide_console()
    stages = stages_of(results)
    if not stages:
        pictured = flags.html or flags.figures
        require(not pictured, "results", "be of a sweep: only its report has pictures", flags.results)
        return print_plain(console, trials, flags.metric or PROBE.column)
    curves = results.curves()
    findings = findings_of(stages, trials, curves, flags.metric)
    print_findings(console, findings)
    drawn = pictures(findings, curves) if flags.html or flags.figures else []
    if flags.figures:
        write_pictures(drawn, flags.figures)
        print(flags.figures)
    if flags.html:
        write_page(findings, curves, flags.html, drawn, results)
        print(flags.html)
    return None
