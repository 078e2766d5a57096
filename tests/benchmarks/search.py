"""What is a search worth? A whole grid of trials, run once on real data, replayed by every method.

    python -m tests.benchmarks.search                                   # both grids: 12 minutes of one core
    python -m tests.benchmarks.search --grid noise --one-seed --startup 5 --keep 2

Both grids are of scikit-learn's digits and a nano model; `python -m tests.benchmarks.record` records them again, and
their metadata say how. `noise` is 12 values of a by 11 of b, 30 epochs (the map of `sweeps/noise_schedule.py`); `joint`
is 11 noise schedules by 5 position encodings by 7 learning rates, 15 epochs (the space of `sweeps/joint.py` without the
order). The best quarter of `joint`'s cells ran with five seeds: the true value of a cell is the mean over its seeds. A
trial shows that mean at the cost of one seed; with `--one-seed` it shows the first seed's result, as a search sees it.

A method asks for points. Each is replaced by the nearest cell in the logarithm of its numbers, and costs that cell's
recorded seconds up to the rung where it is stopped; a cell that has been run costs nothing more. A method is done when
its incumbent, the whole trial with the best recorded value, is truly within so many points of the best cell. Methods:

    shuffled grid   every cell, in random order
    random          over the sweep's space
    TPE             as in the search: its settings, and its known points first
    TPE + ASHA      with the search's early stopping, pilot and rungs
"""

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, TrialState, create_trial
from rich.console import Console
from rich.table import Table

from darl.distributed.asha import Asha
from darl.experiment import Experiment
from darl.sweep.early_stopping import Pilot
from darl.sweep.samplers import Sampler, Tpe, propose
from darl.sweep.search import Search
from darl.sweep.space import Choice, Dimension, draw, parameters
from darl.sweep.statistics import Kendall
from darl.sweep.study import TRIES
from sweeps.joint import joint_first, joint_space
from sweeps.noise_schedule import COORDINATES, KNOWN
from tests.benchmarks.recorded_grids import GRIDS, Cell, Grid

QUANTILES = {"lower quartile": 0.25, "median": 0.5, "upper quartile": 0.75, "90th percentile": 0.9}
AIM = {"median": 1 / 5, "90th percentile": 1 / 3}  # of the shuffled grid's, at most

Step = tuple[float, Cell | None]
"""Seconds of a trial, and its cell where it ran whole."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A search's settings, and what production does not offer but a comparison may ask for."""

    coordinates: str = "shape"
    """Of Beta schedules, where they are all that is searched."""
    pilot: int = Search.pilot
    keep: int = Search.reduction
    """Early stopping keeps one in this many; the rungs stay where they were recorded."""
    late: bool = False
    """Whether the last rung alone may stop trials."""
    skip_pilot: bool = False
    """Whether trials are stopped from the first on, whatever a pilot would say."""
    sampler: Sampler = field(default_factory=Tpe)

    def sweep(self, grid: Grid) -> Search:
        """The search whose space the grid covers, with its known points moved to the nearest cells."""
        base = Experiment(data="digits", epochs=grid.epochs)
        if "learning_rate" in grid.names:
            space = {name: _held(name, part, grid) for name, part in joint_space(base).items() if name in grid.names}
            first = joint_first(base)
        else:
            space = {"noise": COORDINATES[self.coordinates]}
            first = {name: {"noise.a": beta.a, "noise.b": beta.b} for name, beta in KNOWN.items()}
        first = {name: dict(grid.nearest(point)) for name, point in first.items()}
        return Search(name="replay", question="?", base=base, space=space, first=first, pilot=self.pilot)

    def asha(self, sweep: Search) -> Asha:
        """The search's early stopping, with this setup's changes."""
        asha = (LateAsha if self.late else Asha)(sweep, [], self.keep)
        if self.skip_pilot:
            asha.pilot = Pilot(dict.fromkeys(sweep.rungs, Kendall(1.0, 1.0, 1.0, 0)))
        return asha


class LateAsha(Asha):
    """Early stopping at the last rung alone."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or continue."""
        early = result["epoch"] in sorted(self._sweep.rungs)[:-1]
        return self.CONTINUE if early else super().on_trial_result(tune_controller, trial, result)


def _held(name: str, part: Dimension, grid: Grid) -> Dimension:
    """A dimension with those of its options that the grid has."""
    if not isinstance(part, Choice):
        return part
    held = {dict(cell)[name] for cell in grid.cells}
    return Choice(options={option: space for option, space in part.options.items() if option in held})


def shuffled(grid: Grid, _setup: Setup, seed: int) -> Iterator[Step]:
    """Every cell once."""
    for index in np.random.default_rng(seed).permutation(len(grid.cells)):
        yield grid.seconds[grid.cells[index]], grid.cells[index]


def drawn(grid: Grid, setup: Setup, seed: int) -> Iterator[Step]:
    """Uniform in the space's coordinates, without known points."""
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    for cell in proposed(grid, setup.sweep(grid), study, seed, tries=10 * TRIES):
        yield grid.seconds[cell], cell


def searched(grid: Grid, setup: Setup, seed: int, *, early: bool) -> Iterator[Step]:
    """TPE, with or without early stopping."""
    sweep = setup.sweep(grid)
    study = optuna.create_study(sampler=setup.sampler.build(sweep.space, seed), direction="maximize")
    for point in sweep.first.values():
        study.enqueue_trial(parameters(sweep.space, point))
    asha = setup.asha(sweep) if early else None
    for cell in proposed(grid, sweep, study, seed):
        scores = run(grid, sweep, asha, cell)
        add_cell(study, sweep, cell, scores)
        last = max(scores)
        yield grid.curves[cell][last]["seconds"], cell if last == grid.epochs else None


METHODS: dict[str, Callable[[Grid, Setup, int], Iterator[Step]]] = {
    "shuffled grid": shuffled,
    "random": drawn,
    "TPE": partial(searched, early=False),
    "TPE + ASHA": partial(searched, early=True),
}


def proposed(grid: Grid, sweep: Search, study: optuna.Study, seed: int, tries: int = TRIES) -> Iterator[Cell]:
    """Cells that the sampler asks for, each once, until it asks `tries` times in a row for cells that were run."""
    seen: set[Cell] = set()
    known = 0
    while known < tries:
        trial, point = propose(study, sweep.space, known, seed)
        cell = grid.nearest(point)
        study.tell(trial, state=TrialState.FAIL)  # the sampler learns from its cell instead, by `add_cell`
        known = known + 1 if cell in seen else 0
        if cell not in seen:
            seen.add(cell)
            yield cell


def run(grid: Grid, sweep: Search, asha: Asha | None, cell: Cell) -> dict[int, float]:
    """What decides in the cell's trial, by epoch, until it ends or is stopped."""
    trial = SimpleNamespace(trial_id=str(cell), config={"trial": (dict(cell), 0)})
    scores: dict[int, float] = {}
    if asha is not None:
        asha.on_trial_add(None, trial)  # pyright: ignore[reportArgumentType]
    for epoch, result in grid.curves[cell].items():
        if epoch > 0:
            scores[epoch] = result[sweep.rungs.get(epoch, sweep.metric)]
            if asha is not None and asha.on_trial_result(None, trial, result) == asha.STOP:
                break
    return scores


def add_cell(study: optuna.Study, sweep: Search, cell: Cell, scores: dict[int, float]) -> None:
    """Add the cell's trial to the study, in the state that a search gives it; at the space's edge if it lies beyond."""
    asked = FixedTrial(parameters(sweep.space, dict(cell)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what lies beyond the edge
        draw(sweep.space, asked)
    trial = create_trial(
        state=TrialState.COMPLETE if max(scores) == sweep.base.epochs else TrialState.PRUNED,
        params={name: _inside(value, asked.distributions[name]) for name, value in asked.params.items()},
        distributions=asked.distributions,
        intermediate_values=scores,
        value=scores[max(scores)],
    )
    study.add_trial(trial)


def _inside(value: Any, distribution: BaseDistribution) -> Any:
    is_number = isinstance(distribution, FloatDistribution)
    return min(max(value, distribution.low), distribution.high) if is_number else value


def costs(steps: Iterable[Step], grid: Grid, truth: dict[Cell, float], within: Sequence[float]) -> list[float]:
    """Seconds until the incumbent is truly within so many points of the best; infinite where it never is."""
    best, spent, incumbent = max(truth.values()), 0.0, None
    reached = dict.fromkeys(within, math.inf)
    for seconds, cell in steps:
        spent += seconds
        if cell is not None and (incumbent is None or grid.values[cell] > grid.values[incumbent]):
            incumbent = cell
            lag = 100 * (best - truth[cell])
            reached |= {points: spent for points in within if lag < points + 1e-9 and reached[points] == math.inf}
        if max(reached.values()) < math.inf or spent >= grid.total:
            break
    return list(reached.values())


def replay(grid: Grid, setup: Setup, truth: dict[Cell, float], within: Sequence[float], seeds: int) -> pd.DataFrame:
    """The costs of every method: `points`, `method`, `seed` and `seconds`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[tuple[float, str, int, float]] = []
    for name, method in METHODS.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        for seed in range(seeds):
            seconds = costs(method(grid, setup, seed), grid, truth, within)
            rows += [(points, name, seed, spent) for points, spent in zip(within, seconds, strict=True)]
    return pd.DataFrame(rows, columns=["points", "method", "seed", "seconds"])


def summary(spent: pd.DataFrame) -> pd.DataFrame:
    """By points and method: quantiles over seeds (of the seeds' own costs: some are infinite), and ratios of them."""
    by = spent.groupby(["points", "method"], sort=False)["seconds"]
    table = pd.DataFrame({name: by.agg(np.quantile, q=q, method="inverted_cdf") for name, q in QUANTILES.items()})
    table["reached"] = by.agg(lambda seconds: np.isfinite(seconds).mean())
    plain = table.xs("shuffled grid", level="method")
    for name in AIM:
        table[f"{name} / grid's"] = table[name].div(plain[name], level="points")
    return table.sort_index(level="points", sort_remaining=False)


def table_of(table: pd.DataFrame, grid: Grid, name: str) -> Table:
    """For people: costs in whole trials, and in percent of the whole grid's."""
    whole = grid.total / len(grid.cells)
    printed = Table(
        "within", "method", title=f"{name}: cost in trials of {whole:.0f} s (% of all {len(grid.cells)} cells')"
    )
    for name in table.columns:
        printed.add_column(str(name), justify="right")

    def shown(name: str, value: float) -> str:
        if name not in QUANTILES:
            return f"{100 * value:.0f} %" if name == "reached" else "–" if math.isnan(value) else f"{value:.2f}"
        return "never" if math.isinf(value) else f"{value / whole:.1f} ({100 * value / grid.total:.0f} %)"

    for (points, method), row in table.to_dict("index").items():
        values = [shown(str(name), value) for name, value in row.items()]
        printed.add_row(f"{points:g} points", method, *values, end_section=method == list(METHODS)[-1])
    return printed


def verdict(table: pd.DataFrame, points: float) -> tuple[bool, str]:
    """Whether the search reaches the aim, and the sentence."""
    ratios = {name: table.loc[(points, "TPE + ASHA"), f"{name} / grid's"] for name in AIM}
    reached = all(ratios[name] <= bound for name, bound in AIM.items())
    ratios_text = " and ".join(f"{ratio:.2f} in the {name} (aim: {AIM[name]:.2f})" for name, ratio in ratios.items())
    aim = "The aim is reached" if reached else "The aim is missed"
    goal = f"to be within {points:g} points costs TPE + ASHA, of the shuffled grid's cost"
    return reached, f"{aim}: {goal}, {ratios_text}."


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seeds", type=int, default=100, help="of the sampler (default 100; 20 tell little)")
    add("--within", type=float, nargs="+", default=[0.25, 0.5, 1.0], metavar="POINTS", help="default 0.25 0.5 1")
    add("--grid", nargs="+", default=list(GRIDS), help=f"{', '.join(GRIDS)} or other recorded files (default both)")
    add("--one-seed", action="store_true", help="a trial shows one seed's result, not the mean over its cell's")
    add("--coordinates", choices=list(COORDINATES), default="shape", help="of the noise search (default shape)")
    add("--pilot", type=int, default=Search.pilot, help=f"as in the search (default {Search.pilot})")
    add("--startup", type=int, default=Tpe.startup, help=f"random trials before TPE learns (default {Tpe.startup})")
    add("--keep", type=int, default=Search.reduction, help="one in this many (default: the search's reduction)")
    add("--late", action="store_true", help="the last rung alone may stop trials, not the first one, by kNN")
    add("--skip-pilot", action="store_true", help="stop trials from the first on, whatever a pilot would say")
    add("--independent", action="store_true", help="each dimension drawn for itself: multivariate and group off")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    same = {name: getattr(options, name) for name in ("coordinates", "pilot", "keep", "late", "skip_pilot")}
    setup = Setup(**same, sampler=Tpe(startup=options.startup, multivariate=not options.independent))
    console, verdicts = Console(width=None if sys.stdout.isatty() else 160), list[bool]()
    for name in options.grid:
        rows = pd.read_parquet(GRIDS.get(name, Path(name)))
        truth = Grid(rows).values
        grid = Grid(rows[rows["seed"] == 0]) if options.one_seed else Grid(rows)
        table = summary(replay(grid, setup, truth, options.within, options.seeds))
        console.print(table_of(table, grid, name))
        reached, sentence = verdict(table, options.within[0])
        print(f"{name}: {sentence}\n", flush=True)
        verdicts.append(reached)
    return int(not all(verdicts))


if __name__ == "__main__":
    sys.exit(main())
