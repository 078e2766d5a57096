"""What a sweep would run, what that would cost, and what it could tell: `--dry-run`."""

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
from rich.console import Console

from darl.data import Dataset, steps_per_epoch
from darl.experiment import Experiment
from darl.metrics import is_loss
from darl.report.findings import find
from darl.report.format import amount, several
from darl.results.rows import image_flops
from darl.results.tables import Results
from darl.sweep.base import Sweep, describe
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.statistics import FEWEST, detectable, seed_sd
from darl.training.pretrain import step_seconds

__all__ = ["print_plan"]

GPU_FLOPS = 1e14
"""Assumed of a GPU, per second."""

ASSUMED_SD = 0.01
"""At least, of a paired difference between two seeds' accuracies, where no trials say better."""

ASSUMED_TOP1 = 0.8
"""An accuracy, for what chance does to it on few validation images."""

SHOWN = 12
"""Cells that are named one by one."""

Datasets = Mapping[str, Dataset]


def print_plan(stages: Sequence[Sweep], datasets: Datasets, results: Results, flags: argparse.Namespace) -> None:
    """Print the space, cells, seeds and trials of every stage, the cost of all, and what a design can detect."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    flops, trials = 0.0, 0
    for stage in stages:
        console.print(stage.question)
        _print_design(console, stage) if isinstance(stage, Design) else _print_search(console, stage)
        console.print(_power(stage, len(datasets[stage.base.data_key].validation), results))
        own = _experiments(stage)
        trials += len(own)
        flops += sum(_flops(one, datasets[one.data_key], stage) for one in own)
        console.print()
    console.print(f"in all at most {several(trials, 'trials')}, {flops / 1e15:.3g} PFLOPs with evaluations")
    base = stages[0].base
    hours = flops / GPU_FLOPS / 3600
    console.print(f"estimated cost: {hours:.2g} GPU-hours at {GPU_FLOPS / 1e12:.0f} TFLOP/s (assumed, not measured)")
    if not flags.gpus_per_worker:
        seconds = step_seconds(base, datasets[base.data_key]) / (3 * base.build().flops() * base.batch_size)
        console.print(
            f"or {flops * seconds / 3600:.2g} CPU-hours on one core, {flops * seconds / trials:.0f} s a trial "
            "(three steps were timed on this machine)"
        )
    done = sum(_done(stage, results.trials()) for stage in stages)
    if done:
        console.print(f"of these trials, finished or stopped already and not to be run again: {done}")


def _done(stage: Sweep, trials: pd.DataFrame) -> int:
    """How many of a stage's trials have finished or were stopped early."""
    ended = trials.loc[trials["status"] != "failed"].drop_duplicates("trial_id")
    if isinstance(stage, Design):
        known = {experiment.trial_id for experiment in stage.experiments(ended["config"]) if experiment is not None}
        return len({one.trial_id for one in _experiments(stage)} & known)
    assert isinstance(stage, Search)
    rows = zip(stage.labels(ended["config"]), ended["seed"], strict=True)
    repeats = [int(seed) - stage.base.seed for label, seed in rows if label is not None]
    return min(repeats.count(0), stage.trials) + sum(0 < repeat < stage.seeds for repeat in repeats)


def _print_search(console: Console, stage: Sweep) -> None:
    assert isinstance(stage, Search)
    for path, part in stage.space.items():
        console.print(f"  {path}: {part}")
    for name, point in stage.first.items():
        console.print(f"  first: {name}: {describe(point)}")
    base = stage.base
    again = f", then the best {stage.contenders} and the first ones on {several(stage.seeds - 1, 'fresh seeds')}"
    console.print(f"trials: {several(stage.trials, 'points')} on seed {base.seed}{again if stage.seeds > 1 else ''}")
    console.print(f"each: {several(base.epochs, 'epochs')} of {base.data}")
    if stage.rungs and stage.early:
        rungs = " and ".join(f"{epoch} (by {metric})" for epoch, metric in stage.rungs.items())
        console.print(
            f"those not in the best 1/{stage.reduction} are stopped after epochs {rungs}, not the first ones, and only "
            f"where {stage.pilot} pilot trials show that early results foretell late ones"
        )


def _print_design(console: Console, stage: Sweep) -> None:
    assert isinstance(stage, Design)
    names = list(stage.cells)
    for label in names[:SHOWN]:
        console.print(f"  cell: {label}{'  (the baseline)' if label == stage.baseline_of(label) else ''}")
    if len(names) > SHOWN:
        console.print(f"  and {several(len(names) - SHOWN, 'cells')} more")
    last = f"s {stage.base.seed} to {stage.base.seed + stage.seeds - 1}" if stage.seeds > 1 else f" {stage.base.seed}"
    planned, every = len(stage.planned()), len(names) * stage.seeds
    first = f"the first {planned} of {every}" if planned < every else str(every)
    console.print(f"trials: {first} = {several(len(names), 'cells')} × seed{last}")
    console.print(f"each: {several(stage.base.epochs, 'epochs')}")


def _power(stage: Sweep, images: int, results: Results) -> str:
    """The smallest difference to the baseline that a design, or a search's race, can be expected to detect."""
    seeds, noun, has = stage.seeds - 1, "fresh seeds", "no race"
    if isinstance(stage, Design):  # which runs seed by seed
        seeds, noun, has = len(stage.planned()) // len(stage.cells), "seeds", "less than one seed of each cell"
    has = f"{seeds} {noun}" if seeds > 1 else "one seed" if seeds else has
    measured = _measured_sd(stage, results) if isinstance(stage, Design) else None
    nothing = "no difference can be told from noise"
    if is_loss(stage.metric) and not measured:
        known = "what they can detect is known once trials tell how losses vary from seed to seed"
        return f"{has}: {known if seeds > 1 else nothing}"
    sd = measured or max(ASSUMED_SD, math.sqrt(2 * ASSUMED_TOP1 * (1 - ASSUMED_TOP1) / images))
    comparisons = max(1, _compared(stage) - 1)
    least, *more = (detectable(count, sd, comparisons) for count in (seeds, FEWEST, 2 * FEWEST))
    told = zip((FEWEST, 2 * FEWEST), more, strict=True)
    with_more = "".join(
        f"; {count} {noun}: {amount(one, stage.metric)}" for count, one in told if one and count > seeds
    )
    if least is None:
        return f"{has}: {nothing}{with_more}"
    if least > 1 and not is_loss(stage.metric):
        return f"{has}: {nothing} after {several(comparisons, 'comparisons')}{with_more}"
    known = " as in the trials that are there" if measured else f", assumed for {images:,} validation images"
    words = (
        f"80 % power, 5 % level, {several(comparisons, 'comparisons')}; differences vary from seed to seed by "
        f"{amount(sd, stage.metric)}{known}"
    )
    few = f"; under {FEWEST} seeds it will be called inconclusive all the same" if seeds < FEWEST else ""
    return f"smallest difference that {has} can detect: {amount(least, stage.metric)} ({words}{few}){with_more}"


def _measured_sd(stage: Design, results: Results) -> float | None:
    trials = results.trials()
    if trials.empty:
        return None
    found: list[float] = []
    for finding in find(stage, trials):
        rows = finding.trials[finding.trials["status"] == "finished"]
        cell = next(iter(finding.table["cell"]))
        values = pd.DataFrame({"cell": rows["cell"], "seed": rows["seed"], "value": rows[stage.metric]})
        sd = seed_sd(values, stage.baseline_of(cell) or cell)
        found += [] if sd is None else [sd]
    return max(found, default=None)


def _compared(stage: Sweep) -> int:
    """Cells that are compared with each other: of a design's largest group, or of a race."""
    if isinstance(stage, Design):
        return max(Counter(stage.groups.get(label, "") for label in stage.cells).values())
    assert isinstance(stage, Search)
    return stage.contenders + len(stage.first)


def _experiments(stage: Sweep) -> list[Experiment]:
    """Every trial that a stage could run; a search's are like its base."""
    if isinstance(stage, Design):
        return [stage.experiment(point, repeat) for _, point, repeat in stage.planned()]
    assert isinstance(stage, Search)
    return [stage.base] * (stage.trials + (stage.seeds - 1) * (stage.contenders + len(stage.first)))


def _flops(experiment: Experiment, dataset: Dataset, stage: Sweep) -> float:
    """Of training and of the evaluations' passes over all images."""
    size = experiment.batch_size
    trained = steps_per_epoch(len(dataset.train), size) * size * experiment.epochs
    evaluated = (len(dataset.train) + 2 * len(dataset.validation)) * (2 + len(stage.schedule))
    return image_flops(experiment.changed({"seed": 0})) * (3 * trained + evaluated)
