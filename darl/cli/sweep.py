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
from darl.cli.same_data import require_same_data
from darl.data import DataContent, Dataset, content_of
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
    contents: dict[str, DataContent] = {}

    def last(trials: pd.DataFrame) -> list[Sweep]:
        return [replace(_with_flags(then(options, stages, trials), flags), contents=contents)] if then else []

    results = Results(results_root(flags.results), stages[0].name)
    if flags.report:
        known = stages_of(results)
        contents.update(_contents(stages, known))
        # what a last stage has been made of stands in the folder
        shown = known if then and known else [replace(stage, contents=contents) for stage in stages]
        return present(shown, results, files=False)
    every = [*stages, *last(pd.DataFrame())]
    needs = flags.max_gpu_hours is None or flags.gpus_per_worker > 0
    require(needs, "--max-gpu-hours", "come with --gpus-per-worker", flags.max_gpu_hours)
    check(flags.log, local_folder(results.path))
    datasets = _load(every, flags)
    contents.update(_loaded_contents(every, datasets))
    require_same_data(results, contents)
    stages = [replace(stage, contents=contents) for stage in stages]
    if flags.dry_run:
        return print_plan([*stages, *last(pd.DataFrame())], datasets, results, flags)
    return _run(stages, last, datasets, results, flags)


def _loaded_contents(stages: Stages, datasets: Datasets) -> dict[str, DataContent]:
    """What the data of the stages is, by address."""
    experiments = [experiment for stage in stages for experiment in _experiments(stage)]
    contents = {experiment.data: datasets[experiment.data_key].content for experiment in experiments}
    return {name: content for name, content in contents.items() if content is not None}


def _contents(stages: Stages, known: Stages) -> dict[str, DataContent]:
    """What the data of a report is, by address: as the folder says, or else as it is now."""
    contents = {name: content for stage in known for name, content in stage.contents.items()}
    names = {experiment.data for stage in stages for experiment in _experiments(stage)}
    return contents | {name: content_of(name) for name in sorted(names - contents.keys())}


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
