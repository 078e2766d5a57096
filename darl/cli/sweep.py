"""What every script under sweeps/ runs: from flags to a finished sweep and its answer."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from darl.cli.fields import overlapping
from darl.cli.flags import (
    Options,
    Parser,
    add_experiment_flags,
    add_run_flags,
    add_sweep_flags,
    check_batch,
    default_of,
    load_data,
    results_root,
    run_command,
    workers_of,
)
from darl.errors import UserError
from darl.experiment import Experiment, flatten
from darl.metrics import require_comparable, require_comparable_over
from darl.storage.address import require_name
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.sweep.record import SWEEP_FILE, to_json
from darl.sweep.search import Search
from darl.training.parallel import worker_part
from darl.variants import Variant, require

if TYPE_CHECKING:  # tables, reports and Ray take seconds to import; a mistake in the flags is told before
    import pandas as pd

    from darl.data import Dataset
    from darl.results.tables import Results

__all__ = ["Trials", "run_sweep"]

Stages = Sequence[Sweep]

Datasets = Mapping[str, "Dataset"]
"""By `Experiment.data_key`."""

Trials: TypeAlias = "pd.DataFrame"
"""The table of a folder of results."""

Then = Callable[[Options, Stages, Trials], Sweep]
"""Makes one more sweep from the trials of the others; before they have run, from an empty table."""


def run_sweep(
    build: Callable[[Options], Sweep | Stages],
    description: str | None,
    *,
    trials: int | None = None,
    seeds: int = 3,
    varies: Sequence[str] = (),
    small_epochs: int | None = None,
    data_sets: list[str] | None = None,
    flags: Callable[[argparse.ArgumentParser], None] | None = None,
    then: Then | None = None,
) -> None:
    """A sweep script's whole command line.

    Args:
        build: makes the sweep, or several that run one after another, from the flags.
        description: for `--help`.
        trials: a search's usual number of trials; None for a design.
        seeds: default number of seeds.
        varies: paths of the record's fields that the sweep itself chooses, so that their flags have no meaning here.
        small_epochs: default number of epochs on the embedded digits, if it is not the record's.
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
    run_command(lambda: _sweep(Options(given), build, then, varies), given)


def _sweep(
    options: Options, build: Callable[[Options], Sweep | Stages], then: Then | None, varies: Sequence[str]
) -> None:
    """What can be checked without the data and the tables is checked first: that takes no time."""
    flags, built = options.flags, build(options)
    _require_left(options, varies)
    require_name(flags.name or "sweep", "name")
    stages = [_with_flags(stage, flags) for stage in ([built] if isinstance(built, Sweep) else built)]
    needs = flags.report or flags.max_gpu_hours is None or flags.gpus_per_worker > 0
    require(needs, "max_gpu_hours", "come with --gpus-per-worker", flags.max_gpu_hours)

    def last(trials: Trials) -> list[Sweep]:
        return [_with_flags(then(options, stages, trials), flags)] if then else []

    if flags.report:
        return _report(stages, flags, of_last_run=then is not None)
    every = [*stages, *_planned(last)] if then else stages
    for stage in every:
        _check(stage, flags)
    from darl.results.tables import Results

    results = Results(results_root(flags.results), stages[0].name)
    datasets = _load(every, flags)
    if flags.dry_run:
        from darl.cli.dry_run import print_plan

        return print_plan(every, datasets, results, flags)
    return _run(stages, last, datasets, results, flags)


def _with_flags(sweep: Sweep, flags: argparse.Namespace) -> Sweep:
    """The sweep with what all scripts take in the same way."""
    sweep = replace(
        sweep,
        name=flags.name or sweep.name,
        metric=flags.objective_metric,
        evaluations=flags.evaluations,
    )
    return replace(sweep, early=not flags.no_early_stopping) if isinstance(sweep, Search) else sweep


def _require_left(options: Options, varies: Sequence[str]) -> None:
    """Raise UserError where a flag or `--set` sets what the sweep varies, unless to its default."""
    for path in varies:
        value = options.given.get(path)
        shown = str(value) if isinstance(value, Variant) else value
        require(value is None or str(value) == str(default_of(path)), path, _LEFT, shown)
        for name in overlapping(options.assigned, path):
            require(False, f"--set {name}", _LEFT, options.assigned[name])


_LEFT = "be left to the sweep, which varies it"


def _planned(last: Callable[[Trials], list[Sweep]]) -> list[Sweep]:
    """The last stage as it is planned before the others have run."""
    import pandas as pd

    return last(pd.DataFrame())


def _report(stages: Stages, flags: argparse.Namespace, *, of_last_run: bool) -> None:
    """Print the answer of the tables; run nothing.

    of_last_run: to what the last run has asked for, where there was one; a stage that is made of others stands there.
    """
    from darl.report.collect import stages_of
    from darl.report.publish import present
    from darl.results.tables import Results

    results = Results(results_root(flags.results), stages[0].name)
    asked = stages_of(results) if of_last_run else []
    present(asked or stages, results, files=False)


def _check(stage: Sweep, flags: argparse.Namespace) -> None:
    """Raise UserError for what is wrong whatever the data are."""
    for experiment in _experiments(stage):
        worker_part(experiment, flags.workers)
    _require_comparable(stage, stage.metric)


def _load(stages: Stages, flags: argparse.Namespace) -> Datasets:
    """The data of every stage, checked."""
    datasets: dict[str, Dataset] = {}
    for stage in stages:
        for experiment in _experiments(stage):
            key = experiment.data_key
            if key not in datasets:
                datasets[key] = load_data(experiment, flags)
            check_batch(experiment, datasets[key], flags)
            _require_labels(datasets[key], stage, experiment.data)
    return datasets


def _require_comparable(stage: Sweep, metric: str) -> None:
    if isinstance(stage, Search):
        require_comparable_over(metric, [path.replace(".", "_") for path in stage.space])
    for group in _groups(stage):
        require_comparable(metric, [flatten(experiment.to_record()) for experiment in group])


def _groups(stage: Sweep) -> list[list[Experiment]]:
    """The experiments that are compared with each other."""
    if not isinstance(stage, Design):
        return []
    names = dict.fromkeys(stage.groups.get(label, "") for label in stage.cells)
    return [
        [stage.experiment(point) for label, point in stage.cells.items() if stage.groups.get(label, "") == name]
        for name in names
    ]


def _experiments(stage: Sweep) -> list[Experiment]:
    points = stage.cells.values() if isinstance(stage, Design) else [{}]
    return [stage.experiment(point) for point in points]


def _require_labels(dataset: "Dataset", stage: Sweep, data: str) -> None:
    labelled = dataset.train.labels is not None and dataset.validation.labels is not None
    if not labelled and stage.metric != "val_loss":
        remedy = "or take --objective-metric val_loss"
        try:
            _require_comparable(stage, "val_loss")
        except UserError:
            remedy = "without them there is val_loss, which does not compare what this sweep varies"
        raise UserError(f"must have labels for {stage.metric}, got {data!r}; {remedy}", field="data")


def _run(
    stages: Stages,
    last: Callable[[Trials], list[Sweep]],
    datasets: Datasets,
    results: "Results",
    flags: argparse.Namespace,
) -> None:
    """Run the stages on Ray, then the last one that is made of them, and present what was found."""
    from darl.report.collect import stages_of
    from darl.report.format import several
    from darl.report.publish import present

    for stage in stages:
        images = len(datasets[stage.base.data_key].train), len(datasets[stage.base.data_key].validation)
        what = f"{several(stage.base.epochs, 'epochs')} on {stage.base.data} ({images[0]:,} + {images[1]:,} images)"
        print(f"{stage.name}: {_trials(stage)} of {what}", flush=True)
    with results.claimed():
        results.prepare()
        print("starting Ray", flush=True)
        from darl.distributed import cluster, session

        cluster.connect()
        cluster.require_resources(flags.workers, flags.gpus_per_worker)
        cluster.require_shared(results.path)
        searches = any(isinstance(stage, Search) for stage in stages)
        shared = session.begin(results, datasets, workers_of(flags), flags, searches=searches)
        results.keep(SWEEP_FILE, to_json(stages).encode())
        if session.run_all(stages, shared):
            final = last(results.trials())
            results.keep(SWEEP_FILE, to_json([*stages, *final]).encode())
            session.run_all(final, shared)
        if shared.budget.ended_by:
            print(f"ended by {shared.budget.ended_by}; the same command goes on", file=sys.stderr)
        present(stages_of(results), results)


def _trials(stage: Sweep) -> str:
    """How many trials a stage has, in words."""
    from darl.report.format import several

    if isinstance(stage, Design):
        cells, seeds = several(len(stage.cells), "cells"), several(stage.seeds, "seeds")
        return f"{several(len(stage.planned()), 'trials')} ({cells}, {seeds})"
    assert isinstance(stage, Search)
    again = f", then the best on {several(stage.seeds - 1, 'fresh seeds')}," if stage.seeds > 1 else ""
    return f"{several(stage.trials, 'trials')}{again}"
