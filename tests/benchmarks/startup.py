"""How long does a command take to say its help or a mistake, and how much memory?

    python -m tests.benchmarks.startup                      # about 3 minutes
    python -m tests.benchmarks.startup --only "darl --help" --rounds 9

Every command runs in a process of its own, all in turns; seconds are the least of the rounds by the clock, memory is
the process's peak. What a command takes beyond torch's import is timed inside one process, which imports torch first
and then runs the command: between two processes, torch's import alone differs by more on a shared machine. Exit code 1
where a goal is not reached.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
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


def environment() -> dict[str, str]:
    """Python keeps the byte code that it makes, as it does unless told otherwise: else every start would compile darl
    anew, but never torch.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cost(python: tuple[str, ...]) -> Cost:
    """Of a Python interpreter with these arguments, from its start to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *python], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.perf_counter() - began, used.ru_maxrss / 1024)  # Linux counts in KiB


AFTER_TORCH = """
import sys
import torch
import runpy
import time

out, sys.argv = int(sys.argv[1]), sys.argv[2:]
began = time.perf_counter()
try:
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    open(out, "w").write(str(time.perf_counter() - began))
"""
"""A Python program that runs a command once torch is imported, and writes its seconds to a file descriptor."""


def seconds_after_torch(python: tuple[str, ...]) -> float:
    """Of a script or of a module with its arguments, in a process that has imported torch."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        subprocess.run(
            [sys.executable, "-c", AFTER_TORCH, str(writing), *python],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[writing],
            check=False,  # a mistake exits with 2
        )
        os.close(writing)
        return float(pipe.read())


@dataclass
class Measured:
    """A command's rounds."""

    start: Start
    costs: list[Cost] = field(default_factory=list)
    after_torch: list[float] = field(default_factory=list)

    def once(self) -> None:
        self.costs.append(cost(self.start.python))
        if self.start.torch:
            self.after_torch.append(seconds_after_torch(self.start.python))

    @property
    def seconds(self) -> float:
        """The least of the rounds: what it takes where nothing else slows it down."""
        return min(each.seconds for each in self.costs)

    @property
    def beyond_torch(self) -> float | None:
        return min(self.after_torch, default=None)

    @property
    def megabytes(self) -> float:
        return min(each.megabytes for each in self.costs)

    @property
    def reached(self) -> bool:
        """All goals of the command."""
        judged = self.seconds if self.start.beyond_torch is None else self.beyond_torch
        goal = self.start.seconds if self.start.beyond_torch is None else self.start.beyond_torch
        enough = self.start.megabytes is None or self.megabytes <= self.start.megabytes
        return enough and judged is not None and judged <= goal


def table_of(measured: dict[str, Measured], torch: Measured) -> Table:
    """For people."""
    table = Table(title="start-up, least of the rounds")
    table.add_column("command", overflow="fold")
    for column in ("seconds", "goal", "beyond torch", "goal", "MB", "goal", "reached"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row("import torch", f"{torch.seconds:.2f}", "", "", "", f"{torch.megabytes:.0f}", "", "")
    for name, one in measured.items():
        start = one.start
        relative = start.beyond_torch is not None
        beyond = "" if one.beyond_torch is None else f"{one.beyond_torch:.2f}"
        table.add_row(
            name,
            f"{one.seconds:.2f}",
            "" if relative else f"≤ {start.seconds:.2f}",
            beyond,
            f"≤ {start.beyond_torch:.2f}" if relative else "",
            f"{one.megabytes:.0f}",
            "" if start.megabytes is None else f"≤ {start.megabytes:.0f}",
            "yes" if one.reached else "[red]no",
        )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of all commands in turns (default 3)")
    parser.add_argument("--only", nargs="+", choices=STARTS, metavar="COMMAND", help=f"of {', '.join(STARTS)}")
    options = parser.parse_args()
    measured = {name: Measured(STARTS[name]) for name in options.only or STARTS}
    torch = Measured(Start(TORCH))
    for one in measured.values():  # writes the byte code and fills the page cache
        cost(one.start.python)
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds} …", file=sys.stderr, flush=True)
        for one in (torch, *measured.values()):
            one.once()
    Console(width=None if sys.stdout.isatty() else 120).print(table_of(measured, torch))
    return int(not all(one.reached for one in measured.values()))


if __name__ == "__main__":
    sys.exit(main())
