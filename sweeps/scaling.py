"""How does the validation loss fall with size and training, and does it foretell the accuracy?

Question   The paper's first open question: is a lower loss a better representation? And what would the next larger
           model, or twice the computation, give?
Design     Sizes × budgets. At one budget all sizes spend the same floating-point operations, so that larger models see
           fewer images; each budget is twice the one before. By default that is done for MSE and for diffusion under a
           noisy and a uniform schedule; with --objective or --noise for that one alone.
Objective  The validation loss, to which a law L = E + A F^-alpha + B D^-beta is fitted (F operations for one image, D
           images seen), and its rank correlation with the accuracy of simple classifiers over all trials.
Forecast   The last of --sizes is left out of the fit. What the law foretells for it, at the largest budget and at twice
           that, is written into sweep.json before it runs, and then compared.
Cost       The default (digits, widths 32, 48, 64 and then 96, 3 budgets, 3 seeds): 99 trials, see `--dry-run`.
Result     RESULTS/scaling/trials and curves; figures/scaling*.png.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from darl.cli.flags import Options
from darl.cli.recipes import DIGITS
from darl.cli.sweep import run_sweep
from darl.experiment import Experiment
from darl.metrics import FEW_SHOT_5, PROBE, VALIDATION_LOSS
from darl.model.encoder_config import SIZES
from darl.model.noise import PAPER, Beta
from darl.sweep.base import Sweep
from darl.sweep.scaling import Scaling, epochs_at
from darl.sweep.scaling_plan import Forecast
from darl.sweep.space import Point
from darl.sweep.wording import several
from darl.variants import require

if TYPE_CHECKING:
    import pandas as pd

GROUPS: Mapping[str, Point] = {
    "diffusion, Beta(0.03, 1)": {"objective": "diffusion", "noise": PAPER},
    "diffusion, Beta(1, 1)": {"objective": "diffusion", "noise": Beta(a=1.0, b=1.0)},
    "MSE": {"objective": "mse", "noise": None},
}
"""What is scaled where the flags leave it open, by name."""

USUAL = {True: "32,48,64,96", False: "nano,tiny,small,base"}
"""The sizes by default: on the digits, and on other data."""


def scaling(options: Options) -> Scaling:
    """The sizes that the law is fitted to, at every budget."""
    base = options.experiment()
    return _design(options, base, [*_fitted(base, options)], [])


def next_size(options: Options, stages: Sequence[Sweep], trials: "pd.DataFrame") -> Scaling:
    """The same and the size after them, with what the law foretells for it."""
    base, largest = options.experiment(), options.flags.budgets - 1
    size = _sizes(base, options)[-1]
    whole = _design(options, base, [*_fitted(base, options)], [(size, largest), (size, largest + 1)])
    return replace(whole, forecasts=_forecasts(replace(whole, contents=stages[0].contents), trials))


def _fitted(base: Experiment, options: Options) -> Iterator[tuple[str, int]]:
    return product(_sizes(base, options)[:-1], range(options.flags.budgets))


def _design(
    options: Options, base: Experiment, fitted: Sequence[tuple[str, int]], ahead: Sequence[tuple[str, int]]
) -> Scaling:
    """Sizes and numbers of budgets, those `ahead` as the next size."""
    flags = options.flags
    require(flags.budgets >= 1, "--budgets", "be at least 1", flags.budgets)
    named = {path.partition(".")[0] for path in {**options.given, **options.assigned}}
    cells: dict[str, Point] = {}
    groups: dict[str, str] = {}
    budgets: dict[str, int] = {}
    later: list[str] = []
    for group, own in ({"": {}} if named & {"objective", "noise"} else GROUPS).items():
        usual = _flops(base, own | _width(base, _sizes(base, options)[-2])) * base.epochs
        for size, budget in (*fitted, *ahead):
            point = own | _width(base, size)
            epochs = epochs_at(usual * 2.0 ** (budget + 1 - flags.budgets), _flops(base, point))
            label = f"{group and group + ': '}{_name(size)}, {several(epochs, 'epochs')}"
            remedy = "be so large that a larger budget is more epochs"
            require(label not in cells, "epochs", remedy, base.epochs)
            cells[label], groups[label], budgets[label] = point | {"epochs": epochs}, group, budget
            later += [label] if (size, budget) in ahead else []
    return Scaling(
        name="scaling",
        question="How does the validation loss fall with size and training, and does it foretell the accuracy?",
        base=base,
        cells=cells,
        groups=groups,
        budgets=budgets,
        next_size=later,
        accuracy=(FEW_SHOT_5 if base.data.startswith("digits") else PROBE).column,
        protocols="linear,few_shot,denoising",
        seeds=flags.seeds,
        trials=flags.trials,
        evaluations=1,
    )


def _forecasts(sweep: Scaling, trials: "pd.DataFrame") -> dict[str, Forecast]:
    """What each group's law foretells for the cells of the next size; nothing before a trial has finished."""
    trials = trials if trials.empty else trials.loc[trials["status"] == "finished"]  # others have no length
    if trials.empty:
        return {}
    from darl.sweep.scaling_law import fit, runs_of  # here, since flags are checked before what takes time to import

    trials = trials.assign(cell=sweep.labels(trials["config"])).dropna(subset=["cell"])
    trials = trials.loc[~trials["cell"].isin(sweep.next_size)]
    groups = trials["cell"].map(sweep.group_of)
    forecasts: dict[str, Forecast] = {}
    for label in sweep.next_size:
        runs = runs_of(trials.loc[groups == sweep.group_of(label)])
        own = sweep.experiment(sweep.cells[label])
        if (law := fit(runs)) is not None:
            images = own.epochs * float(np.median(trials["images_seen"] / trials["epochs"]))
            forecasts[label] = law.forecast(own.model_config.flops(), images, sweep.seeds)
            print(f"foretold for {label}: {_words(forecasts[label])}", flush=True)
    return forecasts


def _words(forecast: Forecast) -> str:
    write = VALIDATION_LOSS.format_value
    return f"validation loss {write(forecast.value)} (95 % interval {write(forecast.low)} to {write(forecast.high)})"


def _flops(base: Experiment, point: Point) -> float:
    return base.changed(point).model_config.flops()


def _sizes(base: Experiment, options: Options) -> list[str]:
    given = options.flags.sizes or USUAL[base.data.startswith("digits")]
    sizes = [size.strip() for size in given.split(",")]
    known = len(set(sizes)) == len(sizes) >= 3 and all(size in SIZES or size.isdecimal() for size in sizes)
    require(known, "--sizes", f"be three or more widths, or of {', '.join(SIZES)}, each once", given)
    each = base.model.width // base.model.heads
    fits = all(size in SIZES or int(size) % each == 0 < int(size) for size in sizes)
    require(fits, "--sizes", f"be multiples of {each}, the width of a head", given)
    return sizes


def _width(base: Experiment, size: str) -> dict[str, Any]:
    """What a size sets: a named one's width, depth and heads; of a width alone the heads, which keep their width."""
    if size in SIZES:
        named = SIZES[size]
        return {"model.width": named.width, "model.depth": named.depth, "model.heads": named.heads}
    return {"model.width": int(size), "model.heads": int(size) * base.model.heads // base.model.width}


def _name(size: str) -> str:
    return size if size in SIZES else f"width {size}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that only this sweep has."""
    parser.add_argument(
        "--sizes",
        help="sizes by name or widths, smallest first; the last is foretold "
        f"(default: {USUAL[True]} for digits, {USUAL[False]} for other data)",
    )
    parser.add_argument(
        "--budgets", type=int, default=3, help="budgets of operations, each twice the one before; at the largest the "
        "last size but one trains for --epochs (default: 3)",
    )  # fmt: skip


if __name__ == "__main__":
    varies = ["model.width", "model.heads"]
    run_sweep(scaling, __doc__, on_digits={**DIGITS, "epochs": 16}, varies=varies, flags=add_flags, then=next_size)
