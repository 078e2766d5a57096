"""The command line of every script under sweeps/: from flags to a finished sweep and its answer."""

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
from darl.data import content_of
from darl.errors import UserError
from darl.evaluation.protocol import Need, Protocol
from darl.experiment import Experiment
from darl.metrics import VALIDATION_LOSS
from darl.storage.address import require_name
from darl.sweep.base import Sweep
from darl.sweep.comparability import require_comparable_over
from darl.sweep.record import SWEEP_FILE, to_json
from darl.sweep.samplers import Sampler
from darl.sweep.wording import several
from darl.training.parallel import microbatch_size
from darl.training.trackers.base import check
from darl.variants import Variant, require

if TYPE_CHECKING:  # tables, reports and Ray take seconds to import; flags are checked before
    import pandas as pd

    from darl.data import DataContent, Dataset
    from darl.results.tables import Results

__all__ = ["Trials", "run_sweep"]

Stages = Sequence[Sweep]

Datasets = Mapping[str, "Dataset"]
"""Data sets by `Experiment.data_key`."""

Trials: TypeAlias = "pd.DataFrame"
"""The table `trials` of a folder of results."""

Then = Callable[[Options, Stages, Trials], Sweep]
"""Builds one more sweep from the trials of the others; from an empty table before they have run."""


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
    """Run the whole command line of a sweep script.

    Args:
        build: builds the sweep, or several that run one after another, from the flags.
        description: text for `--help`.
        trials: default number of trials of a search; None for a design.
        seeds: default number of seeds.
        varies: paths of the record's fields that the sweep itself chooses, so that their flags are refused.
        small_epochs: default number of epochs on the embedded digits, if it is not the record's.
        data_sets: default data sets of a script that takes several.
        flags: adds the script's own flags.
        then: builds one more sweep from the results of the others.

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
    """Run a sweep's command. Checks that need neither data nor tables come first, since they take no time."""
    flags, built = options.flags, build(options)
    _require_left(options, varies)
    require_name(flags.name or "sweep", "name")
    stages = [_with_flags(stage, flags) for stage in ([built] if isinstance(built, Sweep) else built)]
    needs = flags.report or flags.max_gpu_hours is None or flags.gpus_per_worker > 0
    require(needs, "max_gpu_hours", "come with --gpus-per-worker", flags.max_gpu_hours)
    contents: dict[str, DataContent] = {}

    def last(trials: Trials) -> list[Sweep]:
        return [replace(_with_flags(then(options, stages, trials), flags), contents=contents)] if then else []

    if flags.report:
        return _report(stages, flags, of_last_run=then is not None)
    every = [*stages, *_planned(last)] if then else stages
    for stage in every:
        _check(stage, flags)
    check(flags.log, results_root(flags.results))
    datasets = _load(every, flags)
    from darl.cli.same_data import require_same_data
    from darl.results.tables import Results

    results = Results(results_root(flags.results), stages[0].name)
    contents.update(_loaded_contents(every, datasets))
    require_same_data(results, contents)
    stages = [replace(stage, contents=contents) for stage in stages]
    if flags.dry_run:
        from darl.cli.dry_run import print_plan

        return print_plan([*stages, *_planned(last)] if then else stages, datasets, results, flags)
    return _run(stages, last, datasets, results, flags)


def _loaded_contents(stages: Stages, datasets: Datasets) -> dict[str, "DataContent"]:
    """The content of the stages' data, by address."""
    experiments = [experiment for stage in stages for experiment in _experiments(stage)]
    contents = {experiment.data: datasets[experiment.data_key].content for experiment in experiments}
    return {name: content for name, content in contents.items() if content is not None}


def _contents(stages: Stages, known: Stages) -> dict[str, "DataContent"]:
    """The content of a report's data, by address: as recorded in the folder, or else as it is now."""
    contents = {name: content for stage in known for name, content in stage.contents.items()}
    names = {experiment.data for stage in stages for experiment in _experiments(stage)}
    return contents | {name: content_of(name) for name in sorted(names - contents.keys())}


def _with_flags(sweep: Sweep, flags: argparse.Namespace) -> Sweep:
    """The sweep with the flags that all scripts share."""
    sweep = replace(
        sweep,
        name=flags.name or sweep.name,
        metric=flags.objective_metric,
        evaluations=flags.evaluations,
    )
    if sweep.searched_space:
        sweep = replace(sweep, sampler=Sampler.parse(flags.sampler))
    return sweep.without_early_stopping() if flags.no_early_stopping else sweep


def _require_left(options: Options, varies: Sequence[str]) -> None:
    """Raise UserError if a flag or `--set` sets what the sweep varies, except a flag that gives the default."""
    for path in varies:
        value = options.given.get(path)
        shown = str(value) if isinstance(value, Variant) else value
        require(value is None or str(value) == str(default_of(path)), path, _LEFT, shown)
        for name in overlapping(options.assigned, path):
            require(False, f"--set {name}", _LEFT, options.assigned[name])


_LEFT = "be left to the sweep, which varies it"


def _planned(last: Callable[[Trials], list[Sweep]]) -> list[Sweep]:
    """The last stage as planned before the others have run."""
    import pandas as pd

    return last(pd.DataFrame())


def _report(stages: Stages, flags: argparse.Namespace, *, of_last_run: bool) -> None:
    """Print the answer that the tables give; run nothing.

    of_last_run: report the sweeps that the last run recorded, if there was one: only that record holds a stage that was
    built from the others' results.
    """
    from darl.report.collect import stages_of
    from darl.report.publish import present
    from darl.results.tables import Results

    results = Results(results_root(flags.results), stages[0].name)
    asked = stages_of(results)
    contents = _contents(stages, asked)
    shown = asked if of_last_run and asked else [replace(stage, contents=contents) for stage in stages]
    present(shown, results, files=False)


def _check(stage: Sweep, flags: argparse.Namespace) -> None:
    """Raise UserError for mistakes that do not depend on the data."""
    for experiment in _experiments(stage):
        microbatch_size(experiment, flags.workers)
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
    for fields in stage.compared_fields():
        require_comparable_over(metric, fields)


def _experiments(stage: Sweep) -> list[Experiment]:
    return [stage.experiment(point) for point in stage.fixed_cells.values() or [{}]]


def _require_labels(dataset: "Dataset", stage: Sweep, data: str) -> None:
    labelled = dataset.train.labels is not None and dataset.validation.labels is not None
    if not labelled and Need.LABELS in Protocol.giving(stage.metric).needs:
        other = VALIDATION_LOSS.column
        remedy = f"or take --objective-metric {other}"
        try:
            _require_comparable(stage, other)
        except UserError:
            remedy = f"without them there is {other}, which does not compare what this sweep varies"
        raise UserError(f"must have labels for {stage.metric}, got {data!r}; {remedy}", field="data")


def _run(
    stages: Stages,
    last: Callable[[Trials], list[Sweep]],
    datasets: Datasets,
    results: "Results",
    flags: argparse.Namespace,
) -> None:
    """Run the stages on Ray, then the last one, which is built from their results, and present the findings."""
    from darl.report.collect import stages_of
    from darl.report.publish import present

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
