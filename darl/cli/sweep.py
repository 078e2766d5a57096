"""What every script under sweeps/ runs: from flags to a finished sweep and its answer."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from darl.cli.dry_run import print_plan
from darl.cli.flags import (
    Options,
    Parser,
    add_experiment_flags,
    add_run_flags,
    add_sweep_flags,
    check_batch,
    load_data,
    results_root,
    speak_plainly,
    workers_of,
)
from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation.protocol import Need, Protocol
from darl.experiment import Experiment
from darl.metrics import VALIDATION_LOSS
from darl.report.collect import stages_of
from darl.report.publish import present
from darl.results.tables import Results
from darl.sweep.base import Sweep
from darl.sweep.comparability import require_comparable_over
from darl.sweep.record import SWEEP_FILE, to_json
from darl.sweep.samplers import Sampler
from darl.sweep.wording import several
from darl.training.trackers.base import check, local_folder
from darl.variants import require

__all__ = ["run_sweep"]

Stages = Sequence[Sweep]

Datasets = dict[str, Dataset]
"""By `Experiment.data_key`."""


def run_sweep(
    build: Callable[[Options], Sweep | Stages],
    description: str | None,
    *,
    trials: int | None = None,
    seeds: int = 3,
    varies: Sequence[str] = (),
    small_epochs: int = 30,
    data_sets: list[str] | None = None,
    flags: Callable[[argparse.ArgumentParser], None] | None = None,
    then: Callable[[Options, Stages, pd.DataFrame], Sweep] | None = None,
) -> None:
    """A sweep script's whole command line.

    Args:
        build: makes the sweep, or several that run one after another, from the flags.
        description: for `--help`.
        trials: a search's usual number of trials; None for a design.
        seeds: default number of seeds.
        varies: flags of the experiment that have no meaning here, because the sweep itself chooses what they say.
        small_epochs: default number of epochs on the embedded digits.
        data_sets: the default where the script takes several data sets.
        flags: adds the script's own flags.
        then: makes one more sweep from what the others have found.

    """
    parser = Parser(description=description)
    add_experiment_flags(parser, small_epochs=small_epochs, data_sets=data_sets)
    add_sweep_flags(parser, trials=trials, seeds=seeds)
    add_run_flags(parser)
    if flags is not None:
        flags(parser)
    given = parser.parse_args()
    usual = {flag: parser.get_default(_field(flag)) for flag in varies}
    speak_plainly(lambda: _sweep(Options(given), build, then, usual))


def _sweep(
    options: Options,
    build: Callable[[Options], Sweep | Stages],
    then: Callable[[Options, Stages, pd.DataFrame], Sweep] | None,
    usual: dict[str, object],
) -> None:
    flags, built = options.flags, build(options)
    for flag, value in usual.items():
        given = getattr(flags, _field(flag))
        require(given == value, flag, "be left to the sweep, which varies it", given)
    stages = [_with_flags(stage, flags) for stage in ([built] if isinstance(built, Sweep) else built)]

    def last(trials: pd.DataFrame) -> list[Sweep]:
        return [_with_flags(then(options, stages, trials), flags)] if then else []

    results = Results(results_root(flags.results), stages[0].name)
    if flags.report:
        known = stages_of(results) if then else []  # what a last stage has been made of stands there
        return present(known or stages, results, files=False)
    every = [*stages, *last(pd.DataFrame())]
    needs = flags.max_gpu_hours is None or flags.gpus_per_worker > 0
    require(needs, "--max-gpu-hours", "come with --gpus-per-worker", flags.max_gpu_hours)
    check(flags.log, local_folder(results.path))
    datasets = _load(every, flags)
    if flags.dry_run:
        return print_plan(every, datasets, results, flags)
    return _run(stages, last, datasets, results, flags)


def _field(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _with_flags(sweep: Sweep, flags: argparse.Namespace) -> Sweep:
    """The sweep with what all scripts take in the same way."""
    sweep = replace(
        sweep,
        name=flags.name or sweep.name,
        metric=flags.objective_metric,
        evaluations=flags.evaluations,
    )
    if sweep.searched_space:
        sweep = replace(sweep, sampler=Sampler.parse(flags.sampler))
    return sweep.without_early_stopping() if flags.no_early_stopping else sweep


def _load(stages: Stages, flags: argparse.Namespace) -> Datasets:
    """The data of every stage, checked."""
    datasets: Datasets = {}
    for stage in stages:
        for experiment in _experiments(stage):
            key = experiment.data_key
            if key not in datasets:
                datasets[key] = load_data(experiment, flags)
            check_batch(experiment, datasets[key], flags)
            _require_labels(datasets[key], stage, experiment.data)
        _require_comparable(stage, stage.metric)
    return datasets


def _require_comparable(stage: Sweep, metric: str) -> None:
    for fields in stage.compared_fields():
        require_comparable_over(metric, fields)


def _experiments(stage: Sweep) -> list[Experiment]:
    return [stage.experiment(point) for point in stage.fixed_cells.values() or [{}]]


def _require_labels(dataset: Dataset, stage: Sweep, data: str) -> None:
    labelled = dataset.train.labels is not None and dataset.validation.labels is not None
    if not labelled and Need.LABELS in Protocol.giving(stage.metric).needs:
        other = VALIDATION_LOSS.column
        remedy = f"or take --objective-metric {other}"
        try:
            _require_comparable(stage, other)
        except UserError:
            remedy = f"without them there is {other}, which does not compare what this sweep varies"
        raise UserError(f"--data must have labels for {stage.metric}, got {data!r}; {remedy}")


def _run(
    stages: Stages,
    last: Callable[[pd.DataFrame], list[Sweep]],
    datasets: Datasets,
    results: Results,
    flags: argparse.Namespace,
) -> None:
    if flags.gpus_per_worker:  # before Ray starts, and before anything is written
        from darl.distributed.cluster import require_local_gpus

        require_local_gpus(flags.workers, flags.gpus_per_worker)
    for stage in stages:
        images = len(datasets[stage.base.data_key].train), len(datasets[stage.base.data_key].validation)
        what = f"{several(stage.base.epochs, 'epochs')} on {stage.base.data} ({images[0]:,} + {images[1]:,} images)"
        print(f"{stage.name}: {stage.trials_in_words} of {what}", flush=True)
    with results.claimed():
        results.prepare()
        print("starting Ray", flush=True)
        from darl.distributed import cluster, session

        cluster.connect()
        cluster.require_resources(flags.workers, flags.gpus_per_worker)
        cluster.require_shared(results.path)
        searches = any(stage.searched_space for stage in stages)
        shared = session.begin(results, datasets, workers_of(flags), flags, searches=searches)
        results.keep(SWEEP_FILE, to_json(stages).encode())
        if session.run_all(stages, shared):
            final = last(results.trials())
            results.keep(SWEEP_FILE, to_json([*stages, *final]).encode())
            session.run_all(final, shared)
        if shared.budget.ended_by:
            print(f"ended by --{shared.budget.ended_by}; the same command goes on", file=sys.stderr)
        present(stages_of(results), results)
