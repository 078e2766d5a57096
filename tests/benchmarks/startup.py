"""How long does a command take to say its help or a mistake, and how much memory? Beside `import torch`, in one run.

    python -m tests.benchmarks.startup                      # about 3 minutes
    python -m tests.benchmarks.startup --only "darl --help" --rounds 9

Every command runs in a process of its own, all in turns; seconds are the least of the rounds by the clock, memory is
the process's peak. Exit code 1 where a goal is not reached.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.cli.example_starts import STARTS, TORCH, Start

ROOT = Path(__file__).parents[2]


class Cost(NamedTuple):
    """Of one process."""

    seconds: float
    megabytes: float


def cost(python: tuple[str, ...]) -> Cost:
    """Of a Python interpreter with these arguments, from its start to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *python], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.perf_counter() - began, used.ru_maxrss / 1024)  # Linux counts in KiB


def least(costs: list[Cost]) -> Cost:
    """What it takes where nothing else slows it down."""
    return Cost(min(each.seconds for each in costs), min(each.megabytes for each in costs))


def table_of(costs: dict[str, Cost], torch: Cost) -> tuple[Table, bool]:
    """For people; and whether every goal is reached."""
    table = Table(title="start-up, least of the rounds")
    table.add_column("command", overflow="fold")
    for column in ("seconds", "goal", "MB", "goal", "reached"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row("import torch", f"{torch.seconds:.2f}", "", f"{torch.megabytes:.0f}", "", "")
    every = True
    for name, measured in costs.items():
        start = STARTS[name]
        reached = reaches(measured, start, torch)
        every &= reached
        memory = "" if start.megabytes is None else f"≤ {start.megabytes:.0f}"
        goal = f"≤ {start.goal(torch.seconds):.2f}"
        said = "yes" if reached else "[red]no"
        table.add_row(name, f"{measured.seconds:.2f}", goal, f"{measured.megabytes:.0f}", memory, said)
    return table, every


def reaches(measured: Cost, start: Start, torch: Cost) -> bool:
    enough = start.megabytes is None or measured.megabytes <= start.megabytes
    return enough and measured.seconds <= start.goal(torch.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of all commands in turns (default 5)")
    parser.add_argument("--only", nargs="+", choices=STARTS, metavar="COMMAND", help=f"of {', '.join(STARTS)}")
    options = parser.parse_args()
    names = options.only or list(STARTS)
    programs = {"": TORCH} | {name: STARTS[name].python for name in names}
    rounds: dict[str, list[Cost]] = {name: [] for name in programs}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds} …", file=sys.stderr, flush=True)
        for name, python in programs.items():
            rounds[name].append(cost(python))
    costs = {name: least(rounds[name]) for name in names}
    table, every = table_of(costs, least(rounds[""]))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return int(not every)


if __name__ == "__main__":
    sys.exit(main())
