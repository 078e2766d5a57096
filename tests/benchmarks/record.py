"""Record a whole grid of trials for `tests.benchmarks.search` to replay.

    python -m tests.benchmarks.record joint /tmp/joint_grid.parquet --seeds 5   # 385 cells: 90 minutes of 2 cores
    python -m tests.benchmarks.record noise /tmp/noise_grid.parquet             # 132 cells: some 30 minutes

scikit-learn's digits, model nano, one process per core. Every cell runs with seed 0, and the best quarter of them with
the other seeds, too: a cell's value is the mean over its seeds, and only those that could be best need more than one.
A trial is evaluated before training, at the search's rungs by what decides there, and at the end. The same command
goes on where it stopped, also with more seeds. Columns: the cell's point, then seed, epoch, probe_top1, knn_top1 and
seconds since its start, evaluations included.
"""

import argparse
import datetime
import os
import platform
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from darl.data import Dataset, load
from darl.evaluation.standard import standard_evaluation
from darl.experiment import Experiment
from darl.results.rows import provenance
from darl.sweep.search import Search
from darl.sweep.space import Point, rounded
from darl.training.events import Evaluated
from darl.training.pretrain import fit
from tests.benchmarks.recorded_grids import METRICS


def noise_cells() -> list[Point]:
    """Beta(a, b): 12 values of a by 11 of b, the paper's point among them."""
    sides = [0.03 * 10 ** (0.3 * step) for step in range(-3, 9)], [10 ** (0.25 * step) for step in range(-6, 5)]
    return [{"noise.a": rounded(a), "noise.b": rounded(b)} for a, b in product(*sides)]


def joint_cells() -> list[Point]:
    """Noise schedules (9 Betas, linear, cosine) by position encodings by 7 learning rates: the joint sweep's space."""
    betas = [{"noise": "beta", "noise.a": a, "noise.b": b} for a, b in product((0.03, 0.3, 3.0), (0.1, 1.0, 10.0))]
    noises: list[Point] = [*betas, {"noise": "linear"}, {"noise": "cosine"}]
    positions, rates = ("absent", "sincos2d", "learned", "rope1d", "rope2d"), np.geomspace(0.00025, 0.016, 7)
    return [
        {**noise, "position": position, "learning_rate": rounded(float(rate))}
        for noise, position, rate in product(noises, positions, rates)
    ]


CELLS: dict[str, tuple[Callable[[], list[Point]], int]] = {"noise": (noise_cells, 30), "joint": (joint_cells, 15)}
"""Cells and epochs of each grid."""


@cache
def digits() -> Dataset:
    """In each process once."""
    return load("digits", image_size=8, channels=1)


def trial(point: Point, seed: int, epochs: int) -> list[dict[str, Any]]:
    """The rows of a cell's trial."""
    torch.set_num_threads(1)
    base = Experiment(epochs=epochs, seed=seed)
    rungs = Search(name="record", question="?", base=base, space={}).evaluate_at
    events = fit(
        base.changed(point), digits(), device=torch.device("cpu"), full=standard_evaluation(), evaluate_at=rungs
    )
    return [
        {**point, "seed": seed, "epoch": event.epoch, "seconds": event.seconds}
        | {name: event.metrics[name] for name in METRICS}
        for event in events
        if isinstance(event, Evaluated)
    ]


def best_quarter(cells: list[Point], rows: pd.DataFrame) -> list[Point]:
    """The cells with the best results of seed 0."""
    last = rows[(rows["seed"] == 0) & (rows["epoch"] == rows["epoch"].max())]
    values = {_key(row, cells[0]): row["probe_top1"] for row in last.to_dict("records")}
    return sorted(cells, key=lambda cell: values[_key(cell, cells[0])], reverse=True)[: len(cells) // 4]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=list(CELLS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="of the best quarter of the cells (default 1)")
    options = parser.parse_args()
    cells, epochs = CELLS[options.grid][0](), CELLS[options.grid][1]
    rows = pd.read_parquet(options.file).to_dict("records") if options.file.exists() else []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for seed in range(options.seeds):
            wanted = cells if seed == 0 else best_quarter(cells, pd.DataFrame(rows))
            known = {_key(row, cells[0]) for row in rows if row["seed"] == seed}
            missing = [cell for cell in wanted if _key(cell, cells[0]) not in known]
            random.Random(0).shuffle(missing)  # what else the machine does then falls on all parts of the grid alike
            running = [pool.submit(trial, cell, seed, epochs) for cell in missing]
            for number, finished in enumerate(as_completed(running), start=1):
                rows += finished.result()
                save(rows, options, epochs)
                print(f"seed {seed}: {len(wanted) - len(missing) + number} of {len(wanted)}", flush=True)


def _key(row: Point, cell: Point) -> tuple[Any, ...]:
    """The values of a row in the columns of a cell; missing numbers as None."""
    values = [row.get(name) for name in cell]
    return tuple(None if isinstance(value, float) and np.isnan(value) else value for value in values)


def save(rows: Iterable[dict[str, Any]], options: argparse.Namespace, epochs: int) -> None:
    """The table, with how it was made."""
    names = ("torch", "timm", "scikit-learn", "optuna")
    made = {
        "what": "every cell of a grid of trials on scikit-learn's digits, for tests.benchmarks.search",
        "command": f"python -m tests.benchmarks.record {options.grid} {options.file.name} --seeds {options.seeds}",
        "experiment": Experiment(epochs=epochs).to_json(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, one process per core",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)]),
        "darl": f"{version('darl')}, git commit {provenance()['git_commit']}",
    }
    columns = [*max(map(list, CELLS[options.grid][0]()), key=len), "seed", "epoch", *METRICS, "seconds"]
    table = pa.Table.from_pandas(pd.DataFrame(rows, columns=columns), preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **made})
    part = options.file.with_suffix(".part")
    pq.write_table(table, part)
    part.replace(options.file)


if __name__ == "__main__":
    main()
