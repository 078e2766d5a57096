"""What every script under sweeps/ runs: from flags to a finished sweep and its answer."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from darl import report
from darl.data import Dataset, steps_per_epoch
from darl.errors import UserError
from darl.inputs import check_batch, load_data, results_root, workers_of
from darl.options import Options, Parser, add_experiment_flags, add_run_flags, add_sweep_flags, speak_plainly
from darl.results import Results
from darl.sweep import Sweep
from darl.train import step_seconds

__all__ = ["run_sweep"]


def run_sweep(build: Callable[[Options], Sweep], description: str | None, *, trials: int) -> None:
    """A sweep script's whole command line. `build` makes the sweep from the flags; `trials` is its default number."""
    parser = Parser(description=description)
    add_experiment_flags(parser)
    add_sweep_flags(parser, trials)
    add_run_flags(parser)
    flags = parser.parse_args()
    speak_plainly(lambda: _sweep(build(Options(flags)), flags))


def _sweep(sweep: Sweep, flags: argparse.Namespace) -> None:
    sweep = replace(sweep, name=flags.name or sweep.name)
    if flags.report:
        return _answer(sweep, Results(results_root(flags.results), sweep.name))
    dataset = load_data(sweep.base, flags)
    labelled = dataset.train.labels is not None and dataset.validation.labels is not None
    if not labelled and sweep.metric != "val_loss":
        raise UserError(
            f"--data must have labels for {sweep.metric}, got {flags.data!r}; or take --objective-metric val_loss"
        )
    check_batch(sweep.base, dataset, flags)
    if flags.dry_run:
        return _dry_run(sweep, dataset, flags)
    images = f"{len(dataset.train):,} + {len(dataset.validation):,} images"
    what = f"{sweep.trials} trials of {sweep.base.epochs} epochs on {sweep.base.data} ({images})"
    print(f"{sweep.name}: {what}; starting Ray", flush=True)
    from darl.distributed import cluster, tuner  # Ray takes seconds to import: only where it runs

    cluster.connect(log_to_driver=False)
    cluster.require_resources(flags.workers, flags.gpus_per_worker)
    results = Results(results_root(flags.results), sweep.name)
    results.prepare()
    cluster.require_shared(results.path)
    tuner.run(sweep, dataset, results, workers_of(flags), max_concurrent=flags.max_concurrent)
    return _answer(sweep, results)


def _answer(sweep: Sweep, results: Results) -> None:
    everything = results.trials()
    own = [sweep.holds(config) for config in everything["config"]]
    trials = everything.loc[own]
    console = Console()
    console.print()
    console.print(report.summary(trials, sweep.metric))
    console.print(report.answer(trials, sweep.metric), highlight=False)
    if len(trials) < len(everything):
        others = len(everything) - len(trials)
        console.print(
            f"({others} trials of other settings lie here too: give their flags, or `darl report {results.path}`)"
        )
    for error in trials.loc[trials["status"] == "failed", "error"].unique()[:3]:
        console.print(f"failed: {error}", style="red", markup=False, highlight=False)
    console.print(f"\nTables: {results.path}\n", highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.trials_path}")', highlight=False, soft_wrap=True)
    console.print(f'  pandas.read_parquet("{results.curves_path}")', highlight=False, soft_wrap=True)
    if set(trials["status"]) == {"failed"}:
        sys.exit(1)


def _dry_run(sweep: Sweep, dataset: Dataset, flags: argparse.Namespace) -> None:
    console, base = Console(highlight=False, soft_wrap=True), sweep.base
    console.print(sweep.question)
    for path, part in sweep.space.items():
        console.print(f"  {path}: {part}")
    for name, point in sweep.first.items():
        values = ", ".join(f"{path} = {value:.4g}" for path, value in point.items())
        console.print(f"  first: {name}: {values}")
    repeats = (sweep.seeds - 1) * (1 + len(sweep.first))
    images = steps_per_epoch(len(dataset.train), base.batch_size) * base.batch_size * base.epochs
    total = sweep.trials + repeats
    others = f" + {repeats} repeats on other seeds" if repeats else ""
    console.print(f"trials: {sweep.trials} points on seed {base.seed}{others}")
    console.print(f"each: {base.epochs} epochs of {len(dataset.train):,} images")
    if sweep.rungs:
        console.print(f"those not in the best third are stopped after epochs {sweep.rungs} (not the first points)")
    flops = 3 * base.build().flops() * images
    console.print(f"at most {total * flops / 1e15:.3g} PFLOPs of training, {flops / 1e15:.3g} a trial")
    if flags.gpus_per_worker:
        hours = total * flops / 1e14 / 3600
        console.print(f"estimated cost: {hours:.2g} GPU-hours at 100 TFLOP/s (assumed, not measured), probes aside")
    else:
        seconds = step_seconds(base, dataset) * images / base.batch_size
        console.print(
            f"estimated cost: {total * seconds / 3600:.2g} CPU-hours on one core, {seconds:.0f} s a trial, "
            f"probes aside (three steps were timed on this machine)"
        )
