"""Does the best noise schedule of one data set suit another?

Question   If the best Beta(a, b) depends on the data, it has to be searched anew for each; if not, once is enough.
Search     The search of noise_schedule.py on each of several --data, by itself.
Design     Then each set's best schedule, and the paper's, on every set, with the same seeds, against the set's own
           best: a matrix whose diagonal is what searching on the set itself gives.
Objective  The linear probe's accuracy on frozen features.
Cost       The default (two halves of digits, nano, 10 trials each, 3 schedules × 3 seeds): 5 minutes on 2 cores.
Result     RESULTS/transfer/trials and curves; the column `data` tells the sets apart.
"""

from collections.abc import Sequence
from operator import attrgetter

import pandas as pd

from darl.cli.flags import Options
from darl.cli.sweep import run_sweep
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape, Point
from darl.variants import require

PAPER: Point = {"noise.a": 0.03, "noise.b": 1.0}
DATA_FIELDS = ("data", "image_size", "channels", "model.patch_size", "augment.crop_min", "augment.flip")


def searches(options: Options) -> list[Sweep]:
    """One search for each data set."""
    flags = options.flags
    require(len(set(flags.data)) == len(flags.data) > 1, "--data", "be two or more data sets, each once", flags.data)
    bases = [options.experiment(name) for name in flags.data]
    require(bases[0].objective.uses_noise, "--objective", "be diffusion: others have no schedule", flags.objective)
    sizes = {(base.model.width, base.model.depth, base.model.heads, base.epochs) for base in bases}
    require(len(sizes) == 1, "--model and --epochs", "be given: these data sets have other defaults", flags.data)
    return [
        Search(
            name="transfer",
            question=f"Which Beta(a, b) noise schedule suits {base.data}?",
            base=base.changed({"noise": "beta:a=0.03,b=1"}),
            space={"noise": BetaByShape()},
            first={"paper": PAPER},
            baseline="paper",
            trials=flags.trials or flags.usual_trials,
        )
        for base in bases
    ]


def matrix(options: Options, stages: Sequence[Sweep], trials: pd.DataFrame) -> Design:
    """Each set's best on every set, on seeds that the searches have not seen."""
    best = {stage.base.data: _best(stage, trials, number) for number, stage in enumerate(stages, start=1)}
    schedules = {"paper": PAPER}
    for data, found in best.items():
        if found not in schedules.values():  # two sets may have one best
            schedules[f"best of {data}"] = found
    fields = {stage.base.data: {path: attrgetter(path)(stage.base) for path in DATA_FIELDS} for stage in stages}
    every = [(name, data) for data in best for name in schedules]
    return Design(
        name="transfer",
        question="Does the best noise schedule of one data set suit another?",
        base=stages[0].base.changed({"seed": stages[0].base.seed + 1}),
        cells={f"{name} on {data}": fields[data] | schedules[name] for name, data in every},
        groups={f"{name} on {data}": data for name, data in every},
        baselines={data: f"{name} on {data}" for name, data in every if schedules[name] == best[data]},
        seeds=options.flags.seeds,
    )


def _best(search: Sweep, trials: pd.DataFrame, number: int) -> Point:
    """What a search has found; before it has run, for --dry-run, another point for each."""
    if trials.empty:
        return {**PAPER, "noise.b": 1.0 + number / 1000}
    assert isinstance(search, Search)
    found = search.ranked(trials.to_dict("records"))
    require(len(found) > 0, "--data", "have a trial that finished, for each set", search.base.data)
    return found[0]


if __name__ == "__main__":
    run_sweep(searches, __doc__, trials=10, varies=["--noise"], data_sets=["digits:0-4", "digits:5-9"], then=matrix)
