"""`darl report`: the answer that a sweep's tables give."""

import argparse

from darl.variants import require


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl report`."""
    parser.add_argument("folder", metavar="results", help="a sweep's folder, RESULTS/SWEEP; also at s3:// or gs://")
    default = "the metric that decided in the sweep; without a sweep's record, the first that was measured"
    parser.add_argument("--metric", help=f"metric to rank trials by (default: {default})")
    parser.add_argument("--html", metavar="FILE", help="also write the report as one HTML file, figures included")
    parser.add_argument("--figures", metavar="FOLDER", help="also write its figures, as PNG files")


def run(flags: argparse.Namespace) -> None:
    """Print the answer that a sweep's tables give; `--html` and `--figures` also write files."""
    from darl.metrics import PROBE, RANKING_METRICS
    from darl.report.collect import findings_of, stages_of
    from darl.report.terminal import print_findings, print_ranking, wide_console
    from darl.results.tables import Results, load, require_sweep
    from darl.storage.address import parent_and_name

    results = Results(*parent_and_name(flags.folder))
    require_sweep(results.path)
    trials, console = load(results.trials_path), wide_console()
    stages, files = stages_of(results), flags.html or flags.figures
    if not stages:
        require(not files, "results", "be of a sweep: only its report has figures", flags.folder)
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
