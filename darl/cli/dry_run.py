"""`--dry-run`: the plan of a sweep, its estimated cost, and the smallest differences that it could detect."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from rich.console import Console

from darl.cli.cost import in_gpu_hours
from darl.data import Dataset, steps_per_epoch
from darl.experiment import Experiment
from darl.metrics import METRICS
from darl.report.findings import find
from darl.report.format import amount
from darl.results.rows import image_flops
from darl.results.tables import Results
from darl.sweep.base import Sweep
from darl.sweep.statistics import FEWEST, detectable, seed_sd
from darl.sweep.wording import several
from darl.training.pretrain import step_seconds

__all__ = ["print_plan"]

ASSUMED_SD = 0.01
"""The smallest standard deviation, from seed to seed, that is assumed for the difference between two cells' accuracies
if no trials show how large it is."""

ASSUMED_TOP1 = 0.8
"""The assumed accuracy, from which the noise due to few validation images is computed."""

SHOWN = 12
"""Number of cells that are named one by one."""

Datasets = Mapping[str, Dataset]


def print_plan(
    stages: Sequence[Sweep],
    datasets: Datasets,
    results: Results,
    trainings: Sequence[Experiment] = (),
    *,
    on_gpus: bool,
) -> None:
    """Print the plan of every stage, the differences that it can detect, and the cost of all stages.

    trainings: those of the tokenizers that are trained before.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False)
    flops, trials = 0.0, 0
    for stage in stages:
        for line in (stage.question, *stage.plan_lines(SHOWN)):
            console.print(line)
        console.print(_power(stage, len(datasets[stage.base.data_key].validation), results))
        own = stage.possible_trials()
        trials += len(own)
        flops += sum(_flops(experiment, datasets[experiment.data_key], stage) for experiment in own)
        console.print()
    for training in trainings:
        console.print(f"before them: {training.tokenizer} trained for {several(training.epochs, 'epochs')}")
        flops += 3 * image_flops(training) * _images_trained(training, datasets[training.data_key])
    console.print(f"in all at most {several(trials, 'trials')}, {flops / 1e15:.3g} PFLOPs with evaluations")
    base = stages[0].experiment({})
    console.print(f"estimated cost: {in_gpu_hours(flops)}")
    if not on_gpus:
        seconds = step_seconds(base, datasets[base.data_key]) / (3 * image_flops(base) * base.batch_size)
        console.print(
            f"or {flops * seconds / 3600:.2g} CPU-hours on one core, {flops * seconds / trials:.0f} s a trial "
            "(three steps were timed on this machine)"
        )
    table = results.trials()
    ended = table.loc[table["status"] != "failed"].drop_duplicates("trial_id").to_dict("records")
    done = sum(stage.count_ended(ended) for stage in stages)
    if done:
        console.print(f"of these trials, already finished or stopped and not run again: {done}")


def _power(stage: Sweep, images: int, results: Results) -> str:
    """The smallest difference to the baseline that a stage can be expected to detect."""
    seeds, noun = stage.whole_seeds, stage.seed_noun
    has = f"{seeds} {noun}" if seeds > 1 else "one seed" if seeds else stage.no_seeds
    measured = _measured_sd(stage, results)
    nothing = "no difference can be distinguished from noise"
    highest = METRICS[stage.metric].unit.highest
    if math.isinf(highest) and not measured:  # `ASSUMED_SD` holds for accuracies
        known = "the smallest detectable difference is known once trials show how losses vary from seed to seed"
        return f"{has}: {known if seeds > 1 else nothing}"
    sd = measured or max(ASSUMED_SD, math.sqrt(2 * ASSUMED_TOP1 * (1 - ASSUMED_TOP1) / images))
    comparisons = max(1, stage.compared_cells - 1)
    least, *more = (detectable(count, sd, comparisons) for count in (seeds, FEWEST, 2 * FEWEST))
    larger = [(count, size) for count, size in zip((FEWEST, 2 * FEWEST), more, strict=True) if size and count > seeds]
    sizes = [f"with {count} {noun} {amount(size, stage.metric)}" for count, size in larger]
    with_more = f"; smallest detectable difference {', '.join(sizes)}" if sizes else ""
    if least is None:
        return f"{has}: {nothing}{with_more}"
    if least > highest or seeds < FEWEST:
        return f"{has}: {nothing} after {several(comparisons, 'comparisons')}{with_more}"
    known = " as in the existing trials" if measured else f", assumed for {images:,} validation images"
    words = (
        f"80 % power, 5 % level, {several(comparisons, 'comparisons')}; differences vary from seed to seed by "
        f"{amount(sd, stage.metric)}{known}"
    )
    return f"smallest difference that {has} can detect: {amount(least, stage.metric)} ({words}){with_more}"


def _measured_sd(stage: Sweep, results: Results) -> float | None:
    """The standard deviation of paired differences over seeds in the existing trials; None if there are too few."""
    trials = results.trials()
    if trials.empty:
        return None
    deviations: list[float] = []
    for finding in find(stage, trials):
        done = (finding.trials["status"] == "finished") & finding.trials["seed"].isin(stage.compared_seeds)
        rows = finding.trials.loc[done]
        values = pd.DataFrame({"cell": rows["cell"], "seed": rows["seed"], "value": rows[stage.metric]})
        sd = seed_sd(values, finding.comparison.baseline or next(iter(finding.table["cell"]), ""))
        deviations += [] if sd is None else [sd]
    return max(deviations, default=None)


def _flops(experiment: Experiment, dataset: Dataset, stage: Sweep) -> float:
    """Floating-point operations of training and of evaluations."""
    trained = _images_trained(experiment, dataset)
    config, full = experiment.model_config, stage.full
    before = [full, *stage.evaluate_at.values()]  # the first is before training
    evaluated = sum(evaluation.flops(dataset.deciding, config) for evaluation in before) + full.flops(dataset, config)
    return 3 * image_flops(experiment) * trained + evaluated


def _images_trained(experiment: Experiment, dataset: Dataset) -> int:
    """Images that a training sees, each as often as it is seen."""
    size = experiment.batch_size
    return steps_per_epoch(len(dataset.train), size) * size * experiment.epochs
