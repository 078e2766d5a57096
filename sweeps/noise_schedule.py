"""Which Beta(a, b) noise schedule gives the best representation?

Question   The diffusion objective gives each patch its own signal fraction gamma ~ Beta(a, b). The paper (section 4.3)
           finds that the best schedule is far noisier than the usual ones, about a = 0.03, b = 1. Does this hold for
           your data, model and training length?
Space      a and b, each log-uniform; or, with --coordinates mean, the mean a/(a+b) and the concentration a+b. Three
           known points run first: the paper's, the uniform one, and the Beta nearest to the usual cosine schedule.
Objective  The accuracy of simple classifiers on frozen features: a linear probe, or on the digits, where that is at
           its ceiling, one with 5 labels a class. Training losses under different schedules cannot be compared, so
           they decide nothing.
Search     Optuna's TPE. The first trials run all their epochs. If their early probes predict their final ones, later
           trials that are not in the best third after about 1/9 (by kNN) and 1/3 of the epochs are stopped. Then the
           best three and the known points run again on the same fresh seeds, and those that fall behind are dropped.
           With --adaptive, which is the default on other data than the digits, InfoNoise races with them: a schedule
           that follows the losses while it trains. If it comes to where the search ends, no search was needed.
Map        --design grid runs every cell of an a × b grid with the same seeds instead, into RESULTS/noise_grid.
Cost       The default (digits, two blocks, 10 trials of 36 epochs, 3 fresh seeds): 6 to 7 minutes on 2 cores.
Result     RESULTS/noise_schedule/trials and curves, Parquet tables for pandas. The same command continues where it
           stopped; with more --trials it searches further.
"""

import argparse

import numpy as np

from darl.cli.flags import Options
from darl.cli.recipes import DIGITS
from darl.cli.sweep import require_noise, run_sweep
from darl.metrics import FEW_SHOT_5, PROBE
from darl.model.noise import PAPER, Beta, Cosine, nearest_beta
from darl.sweep.base import Sweep, describe
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.space import BetaByMean, BetaByShape, rounded
from darl.variants import require

COORDINATES = {"shape": BetaByShape(), "mean": BetaByMean()}
KNOWN = {"paper": PAPER, "uniform": Beta(a=1.0, b=1.0), "cosine": nearest_beta(Cosine())}


def noise_schedule(options: Options) -> Sweep:
    """The search or the grid that the flags describe."""
    flags, base = options.flags, options.experiment()
    require_noise(base)
    known = {name: {"noise.a": rounded(beta.a), "noise.b": rounded(beta.b)} for name, beta in KNOWN.items()}
    common = {
        "question": "Which Beta(a, b) noise schedule gives the best representation?",
        "base": base.changed({"noise": PAPER}),
        "baseline": "paper",
        "metric": (FEW_SHOT_5 if base.data.startswith("digits") else PROBE).column,
        "seeds": flags.seeds,
    }
    if flags.design == "grid":
        number = 6 if flags.grid is None else flags.grid
        require(number >= 2, "--grid", "be at least 2", number)
        space = BetaByShape()
        a, b = (np.geomspace(*side, number) for side in ((space.low_a, space.high_a), (space.low_b, space.high_b)))
        points = [{"noise.a": rounded(float(x)), "noise.b": rounded(float(y))} for y in b for x in a]
        rest = {describe(point): point for point in points if point not in known.values()}
        return Design(**common, name="noise_grid", trials=flags.trials, cells=known | rest)
    require(flags.grid is None, "--grid", "come with --design grid", flags.grid)
    searched, trials = {"noise": COORDINATES[flags.coordinates]}, flags.trials or flags.usual_trials
    asked = not base.data.startswith("digits") if flags.adaptive is None else flags.adaptive
    suits = flags.adaptive or base.objective.takes_adaptive_noise
    guests = {"infonoise": {"noise": "infonoise"}} if asked and suits else {}
    return Search(**common, name="noise_schedule", trials=trials, space=searched, first=known, guests=guests)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that only this sweep has."""
    parser.add_argument(
        "--design", default="search", choices=["search", "grid"], help="grid: every cell of a map, no search"
    )
    parser.add_argument("--grid", type=int, help="number of values of a and of b, over the search's range (default 6)")
    parser.add_argument(
        "--coordinates", default="shape", choices=list(COORDINATES), help="searched: (a, b), or mean and concentration"
    )
    parser.add_argument(
        "--adaptive",
        action=argparse.BooleanOptionalAction,
        help="InfoNoise, which follows the losses, joins the race (default: except on the digits)",
    )


if __name__ == "__main__":
    run_sweep(noise_schedule, __doc__, trials=10, seeds=4, varies=["noise"], on_digits=DIGITS, flags=add_flags)
