"""Rows of result tables as two small sweeps write them."""

from typing import Any

from darl.experiment import Experiment
from darl.records import flatten
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape

__all__ = ["NOISES", "ORDERS", "PAPER", "SEARCH", "THREE", "Row", "cell", "lost", "row"]

Row = dict[str, Any]

ORDERS = Design(
    name="orders",
    question="Which order?",
    base=Experiment(epochs=5),
    cells={name: {"order": name} for name in ("raster", "hilbert", "spiral")},
    baseline="raster",
    seeds=3,
)
PAPER = {"noise.a": 0.03, "noise.b": 1.0}
SEARCH = Search(
    name="search",
    question="Which noise?",
    base=Experiment(epochs=5, seed=7),
    space={"noise": BetaByShape()},
    first={"paper": PAPER},
    baseline="paper",
    seeds=4,
)
NOISES = {"paper": PAPER, "a=0.1, b=2": {"noise.a": 0.1, "noise.b": 2.0}, "a=3, b=1": {"noise.a": 3.0, "noise.b": 1.0}}


def row(experiment: Experiment, probe: float | None, **values: Any) -> Row:
    """A row of `trials` as a sweep writes it."""
    measured = {
        "attempt": 0, "status": "finished", "epochs": 5, "probe_top1": probe, "knn_top1": 0.5, "val_loss": 0.2,
        "init_probe_top1": 0.3, "init_knn_top1": 0.2, "seconds": 12.0, "darl_version": "0.1.0",
    }  # fmt: skip
    own = {"trial_id": experiment.trial_id, "config": experiment.to_json()}
    return flatten(experiment.to_record()) | measured | own | values


def cell(name: str, *probes: float | None, sweep: Sweep = ORDERS, first: int = 0, **values: Any) -> list[Row]:
    """A cell's trials on consecutive seeds, beginning with the base's + `first`."""
    point = sweep.cells[name] if isinstance(sweep, Design) else NOISES[name]
    return [row(sweep.experiment(point, first + place), probe, **values) for place, probe in enumerate(probes)]


def lost(name: str, repeat: int, error: str, **values: Any) -> list[Row]:
    return cell(name, None, first=repeat, status="failed", error=error, seconds=2.0, **values)


THREE = (cell("raster", 0.60, 0.61, 0.62), cell("hilbert", 0.61, 0.63, 0.65), cell("spiral", 0.5, 0.53, 0.53))
"""Rows of a complete design: every cell with all its seeds."""
