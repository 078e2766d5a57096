"""Record a whole grid of trials for `tests.benchmarks.search` to replay.

    python -m tests.benchmarks.record joint /tmp/joint_grid.parquet     # 385 cells: some 40 minutes of 2 cores
    python -m tests.benchmarks.record noise /tmp/noise_grid.parquet     # 132 cells: some 30 minutes

scikit-learn's digits, model nano, one seed, one process per core. Every cell is evaluated before training, at the
search's rungs by what decides there, and at the end. The same command goes on where it stopped. Columns: the cell's
point, then epoch, probe_top1, knn_top1 and seconds since its start, evaluations included.
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

from darl.config import Experiment
from darl.data import Dataset, load
from darl.events import Evaluated
from darl.rows import provenance
from darl.space import Point, rounded
from darl.sweep import Search
from darl.train import fit
from tests.benchmarks.grids import METRICS


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


def trial(point: Point, epochs: int) -> list[dict[str, Any]]:
    """A cell's rows."""
    torch.set_num_threads(1)
    base = Experiment(epochs=epochs)
    schedule = Search(name="record", question="?", base=base, space={}).schedule
    events = fit(base.changed(point), digits(), device=torch.device("cpu"), evaluate_at=schedule)
    return [
        {**point, "epoch": event.epoch, **{name: event.metrics[name] for name in METRICS}, "seconds": event.seconds}
        for event in events
        if isinstance(event, Evaluated)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=list(CELLS))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    build, epochs = CELLS[options.grid]
    rows = pd.read_parquet(options.file).to_dict("records") if options.file.exists() else []
    cells = build()
    known = {_key(row, cells[0]) for row in rows}
    missing = [cell for cell in cells if _key(cell, cells[0]) not in known]
    random.Random(0).shuffle(missing)  # what else the machine does then falls on all parts of the grid alike
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(trial, cell, epochs) for cell in missing]
        for number, one in enumerate(as_completed(running), start=1):
            rows += one.result()
            save(rows, options, epochs)
            print(f"{len(cells) - len(missing) + number} of {len(cells)}", flush=True)


def _key(row: Point, cell: Point) -> tuple[Any, ...]:
    """A cell's place; missing numbers as None."""
    values = [row.get(name) for name in cell]
    return tuple(None if isinstance(value, float) and np.isnan(value) else value for value in values)


def save(rows: Iterable[dict[str, Any]], options: argparse.Namespace, epochs: int) -> None:
    """The table, with how it was made."""
    names = ("torch", "timm", "scikit-learn", "optuna")
    made = {
        "what": "every cell of a grid of trials on scikit-learn's digits, for tests.benchmarks.search",
        "command": f"python -m tests.benchmarks.record {options.grid} {options.file.name}",
        "experiment": Experiment(epochs=epochs).to_json(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, one process per core",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)]),
        "darl": f"{version('darl')}, git commit {provenance()['git_commit']}",
    }
    columns = [*max(map(list, CELLS[options.grid][0]()), key=len), "epoch", *METRICS, "seconds"]
    table = pa.Table.from_pandas(pd.DataFrame(rows, columns=columns), preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **made})
    part = options.file.with_suffix(".part")
    pq.write_table(table, part)
    part.replace(options.file)


if __name__ == "__main__":
    main()
