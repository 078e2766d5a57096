"""The command line of every script under sweeps/: from flags to a finished sweep and its answer."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from darl.cli.fields import FLAGS, overlapping
from darl.cli.flags import Options, Parser, add_experiment_flags, default_of, run_command
from darl.cli.load import check_batch, check_labels, check_protocols, load_data
from darl.cli.run_flags import add_run_flags, results_root, workers_of
from darl.cli.stages import Pipeline, Stages, Then, with_flags
from darl.cli.sweep_flags import add_sweep_flags
from darl.cli.sweep_tokenizers import with_known, with_trained
from darl.cli.yardsticks import beside_the_leader
from darl.data import content_of
from darl.errors import UserError
from darl.evaluation.protocol import Need, Protocol
from darl.experiment import Experiment
from darl.metrics import RANKING_METRICS, VALIDATION_LOSS
from darl.storage.address import require_name
from darl.sweep.base import Sweep
from darl.sweep.comparability import require_comparable_over
from darl.sweep.record import SWEEP_FILE, to_json
from darl.sweep.wording import several
from darl.training.parallel import microbatch_size
from darl.training.termination import interrupted_by_termination
from darl.training.trackers.base import check
from darl.variants import Variant, require

if TYPE_CHECKING:  # tables, reports and Ray take seconds to import; flags are checked before
    from darl.data import DataContent, Dataset
    from darl.distributed.tuner import Session
    from darl.results.tables import Results

__all__ = ["require_noise", "run_sweep"]

Datasets = Mapping[str, "Dataset"]
"""Data sets by `Experiment.data_key`."""


def run_sweep(
    build: Callable[[Options], Sweep | Stages],
    description: str | None,
    *,
    trials: int | None = None,
    seeds: int = 3,
    varies: Sequence[str] = (),
    on_digits: Mapping[str, Any] | None = None,
    data_sets: list[str] | None = None,
    flags: Callable[[argparse.ArgumentParser], None] | None = None,
    then: Then | None = None,
    tokenizers: Callable[[Options], Sequence[Experiment]] | None = None,
) -> None:
    """Run the whole command line of a sweep script.

    Args:
        build: builds the sweep, or several that run one after another, from the flags.
        description: text for `--help`.
        trials: default number of trials of a search; None for a design.
        seeds: default number of seeds.
        varies: paths of the record's fields that the sweep itself chooses, so that their flags are refused.
        on_digits: defaults on the embedded digits, by the field's path, where they are not the record's.
        data_sets: default data sets of a script that takes several.
        flags: adds the script's own flags.
        then: builds one more sweep, or several, from the results of the others.
        tokenizers: the trainings of tokenizers that the cells name (`darl.cli.sweep_tokenizers`).

    """
    parser = Parser(description=description)
    add_experiment_flags(parser, on_digits=on_digits, data_sets=data_sets)
    add_sweep_flags(parser, trials=trials, seeds=seeds)
    add_run_flags(parser)
    if flags is not None:
        flags(parser)
    given = parser.parse_args()
    run_command(lambda: _sweep(Options(given), build, then, varies, tokenizers), given)


def require_noise(base: Experiment) -> None:
    """Raise UserError if the experiment's objective has no noise schedule that a sweep could vary."""
    kind = base.objective.kind
    require(base.objective.uses_noise, "objective", "be diffusion: others have no noise schedule", kind)


def _sweep(
    options: Options,
    build: Callable[[Options], Sweep | Stages],
    then: Then | None,
    varies: Sequence[str],
    tokenizers: Callable[[Options], Sequence[Experiment]] | None,
) -> None:
    """Run a sweep's command. Checks that need neither data nor tables come first, since they take no time."""
    flags, built = options.flags, build(options)
    _require_left(options, varies)
    require_name(flags.name or "sweep", "name")
    workers_of(flags)
    first = [with_flags(stage, flags) for stage in ([built] if isinstance(built, Sweep) else built)]
    later = [each for each in (then, beside_the_leader if flags.yardsticks else None) if each is not None]
    needs = flags.report or flags.max_gpu_hours is None or flags.gpus_per_worker > 0
    require(needs, "max_gpu_hours", "come with --gpus-per-worker", flags.max_gpu_hours)
    trainings = tokenizers(options) if tokenizers else []
    if flags.report:
        return _report(first, flags, of_last_run=bool(later or trainings))
    pipeline = Pipeline(options=options, first=first, then=later)
    planned = pipeline.planned()
    for stage in planned:
        _check(stage, flags)
    check(flags.log, results_root(flags.results))
    datasets = _load(planned, flags)
    from darl.cli.same_data import require_same_data
    from darl.results.tables import Results

    results = Results(results_root(flags.results), first[0].name)
    pipeline = with_known(pipeline.knowing(_loaded_contents(planned, datasets)), trainings, datasets, flags)
    require_same_data(results, pipeline.contents)
    if flags.dry_run:
        from darl.cli.dry_run import print_plan

        return print_plan(pipeline.planned(), datasets, results, trainings, on_gpus=flags.gpus_per_worker > 0)
    return _run(pipeline, datasets, results, flags, trainings)


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


def _require_left(options: Options, varies: Sequence[str]) -> None:
    """Raise UserError if a flag or `--set` sets what the sweep varies, except a flag that gives the default."""
    for path in varies:
        value = options.given.get(path)
        shown = str(value) if isinstance(value, Variant) else value
        require(value is None or str(value) == str(default_of(path)), path, _LEFT, shown)
        for name in overlapping(options.assigned, path):
            require(False, f"--set {name}", _LEFT, options.assigned[name])


_LEFT = "be left to the sweep, which varies it"


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
    if not present(shown, results, files=False):
        sys.exit(1)


def _check(stage: Sweep, flags: argparse.Namespace) -> None:
    """Raise UserError for mistakes that do not depend on the data."""
    for experiment in _experiments(stage):
        microbatch_size(experiment, flags.workers)
    _require_comparable(stage, stage.metric)
    for experiment in _experiments(stage):
        _require_measured(stage.metric, experiment)


def _require_measured(metric: str, experiment: Experiment) -> None:
    """Raise UserError if models of the experiment's objective have no such metric."""
    others = [name for name in RANKING_METRICS if Need.DENOISING not in Protocol.giving(name).needs]
    measured = metric in others or experiment.objective.can_denoise
    require(measured, "metric", f"be one of {', '.join(others)} for objective {experiment.objective.kind}", metric)


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
            check_labels(experiment, datasets[key])
            check_protocols(stage.full, experiment, datasets[key], flags)
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
    pipeline: Pipeline,
    datasets: Datasets,
    results: "Results",
    flags: argparse.Namespace,
    trainings: Sequence[Experiment],
) -> None:
    """Run the first stages on Ray, then those that are built from their results, and present the findings."""
    from darl.report.collect import stages_of
    from darl.report.publish import present

    if flags.gpus_per_worker:  # before Ray starts, and before anything is written
        from darl.distributed.cluster import require_local_gpus

        require_local_gpus(flags.workers, flags.gpus_per_worker)
    for stage in pipeline.first:
        print(_announcement(stage, datasets[stage.base.data_key]), flush=True)
    with results.claimed():
        results.prepare()
        pipeline = with_trained(pipeline, trainings, datasets, flags)
        print("starting Ray", flush=True)
        from darl.distributed.session import run_all

        session = _begin(pipeline, datasets, results, flags)
        results.write_file(SWEEP_FILE, to_json(pipeline.first).encode())
        with interrupted_by_termination():
            whole, stages = run_all(pipeline.first, session), list(pipeline.first)
            for then in pipeline.then if whole else ():
                last = pipeline.after(stages, then, results.trials())
                stages += last
                for stage in last:
                    print(f"then {stage.trials_in_words}: {stage.question}", flush=True)
                results.write_file(SWEEP_FILE, to_json(stages).encode())
                if not run_all(last, session):
                    break
        if session.budget.ended_by:
            name, value = session.budget.ended_by
            print(f"stopped by {FLAGS[name]} {value:g}; run the same command to continue", file=sys.stderr)
        if not present(stages_of(results), results):
            sys.exit(1)


def _announcement(stage: Sweep, dataset: "Dataset") -> str:
    """A line on what is about to run."""
    test = "" if dataset.test is None else f" and, once, {len(dataset.test):,} test images"
    images = f"{len(dataset.train):,} + {len(dataset.validation):,} images{test}"
    each = f"{several(stage.base.epochs, 'epochs')} on {stage.base.data} ({images})"
    return f"{stage.name}: {stage.trials_in_words}; each: {each}"


def _begin(pipeline: Pipeline, datasets: Datasets, results: "Results", flags: argparse.Namespace) -> "Session":
    """Join or start Ray, check that it has what the flags ask for, and make what the stages share."""
    from darl.distributed import cluster
    from darl.distributed.budget import Limits
    from darl.distributed.session import begin

    cluster.connect()
    cluster.require_resources(flags.workers, flags.gpus_per_worker)
    cluster.require_shared(results.path)
    return begin(
        results,
        datasets,
        workers_of(flags),
        Limits(hours=flags.max_hours, gpu_hours=flags.max_gpu_hours, trials=flags.max_trials),
        concurrent=flags.max_concurrent,
        trackers=flags.log,
        searches=any(stage.searched_space for stage in pipeline.first),
    )
