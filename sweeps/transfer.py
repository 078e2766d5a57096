"""Does the best noise schedule of one data set suit another?

Question   If the best Beta(a, b) depends on the data, each data set needs a search; if not, one search is enough.
Search     The search of noise_schedule.py on each of several --data, by the linear probe's accuracy.
Design     Then each set's best schedule, and the paper's, run on every set with the same seeds, and are compared with
           the set's own best: a matrix of schedules by data sets, whose diagonal holds the sets' own best schedules.
Cost       The default (two halves of digits, nano, 10 trials each, 3 schedules × 3 seeds): 5 minutes on 2 cores.
Result     RESULTS/transfer/trials and curves; the column `data` names the set.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from darl.cli.flags import Options
from darl.cli.sweep import require_noise, run_sweep
from darl.model.noise import PAPER
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape, Point
from darl.variants import require

if TYPE_CHECKING:
    import pandas as pd

PAPER_POINT: Point = {"noise.a": PAPER.a, "noise.b": PAPER.b}
DATA_FIELDS = ("data", "image_size", "channels", "model.patch_size", "augment.crop_min", "augment.flip")


def searches(options: Options) -> list[Sweep]:
    """One search for each data set."""
    flags = options.flags
    require(len(set(flags.data)) == len(flags.data) > 1, "data", "be two or more data sets, each once", flags.data)
    bases = [options.experiment(name) for name in flags.data]
    require_noise(bases[0])
    sizes = {(base.model.width, base.model.depth, base.model.heads, base.epochs) for base in bases}
    require(len(sizes) == 1, "model and epochs", "be given: these data sets have other defaults", flags.data)
    return [
        Search(
            name="transfer",
            question=f"Which Beta(a, b) noise schedule suits {base.data}?",
            base=base.changed({"noise": PAPER}),
            space={"noise": BetaByShape()},
            first={"paper": PAPER_POINT},
            baseline="paper",
            trials=flags.trials or flags.usual_trials,
        )
        for base in bases
    ]


def matrix(options: Options, stages: Sequence[Sweep], trials: "pd.DataFrame") -> Design:
    """A design with each set's best schedule on every set, on seeds that the searches have not used."""
    best = {stage.base.data: _best(stage, trials, number) for number, stage in enumerate(stages, start=1)}
    schedules = {"paper": PAPER_POINT}
    for data, point in best.items():
        if point not in schedules.values():  # two sets may have the same best
            schedules[f"best of {data}"] = point
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


def _best(search: Sweep, trials: "pd.DataFrame", number: int) -> Point:
    """The best point of a search; before it has run (`--dry-run`), a made-up point that differs between searches."""
    if trials.empty:
        return {**PAPER_POINT, "noise.b": 1.0 + number / 1000}
    assert isinstance(search, Search)
    ranked = search.ranked(trials.to_dict("records"))
    require(len(ranked) > 0, "data", "have a trial that finished, for each set", search.base.data)
    return ranked[0]


if __name__ == "__main__":
    run_sweep(searches, __doc__, trials=10, varies=["noise"], data_sets=["digits:0-4", "digits:5-9"], then=matrix)
