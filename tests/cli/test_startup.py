"""The imports of a command's start: help and mistakes import nothing that they do not need.

Starts that may import the same packages run one after another in one process, so that each import is paid for once.
"""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.cli.example_starts import STARTS, TORCH

ROOT = Path(__file__).parents[2]

HEAVY = {
    "matplotlib", "optuna", "pandas", "pyarrow", "ray", "scipy", "sklearn", "statsmodels", "timm", "torch",
    "torchvision",
}  # fmt: skip

ONE_AFTER_ANOTHER = """
import contextlib, io, runpy, sys
for words in {starts!r}:
    print("\\nstart:", *words, file=sys.stderr, flush=True)
    option, sys.argv = words[0], list(words[1:] if words[0].startswith("-") else words)
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        if option == "-c":
            exec(words[1], {{"__name__": "__main__"}})
        elif option == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(option, run_name="__main__")
"""


@cache
def import_chains(starts: tuple[tuple[str, ...], ...]) -> dict[tuple[str, ...], dict[str, str]]:
    """For each start and heavy package that it imports first, the chain of modules that led there, the last one first.

    starts: the arguments of the Python interpreter.
    """
    command = [sys.executable, "-X", "importtime", "-c", ONE_AFTER_ANOTHER.format(starts=starts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    parts = done.stderr.split("\nstart: ")[1:]
    assert [part.split("\n", 1)[0] for part in parts] == [" ".join(words) for words in starts]
    return {words: chains_of(part.splitlines()) for words, part in zip(starts, parts, strict=True)}


def chains_of(lines: list[str]) -> dict[str, str]:
    names = [line.rpartition("|")[2][1:] for line in lines if line.startswith("import time:")]
    chains: dict[str, str] = {}
    for index, name in enumerate(names):
        package = name.strip().partition(".")[0]
        if package in HEAVY and package not in chains:
            chains[package] = " < ".join(importers(names[index:]))
    return chains


def importers(names: list[str]) -> list[str]:
    """A module and the modules that import it: they follow it, each indented by two spaces less."""
    chain = [names[0]]
    for name in names[1:]:
        if len(name) - len(name.lstrip()) < len(chain[-1]) - len(chain[-1].lstrip()):
            chain.append(name)
    return [name.strip() for name in chain]


def alike(torch: bool) -> tuple[tuple[str, ...], ...]:
    """The starts that may import torch, which is imported before them, or those that may not."""
    return (*([TORCH] if torch else []), *(start.python for start in STARTS.values() if start.torch == torch))


@pytest.mark.parametrize("name", STARTS)
def test_a_start_imports_only_allowed_packages(name: str) -> None:
    start = STARTS[name]
    chains = import_chains(alike(start.torch))[start.python]
    assert not chains, "\n".join(f"{package}: {chain}" for package, chain in chains.items())


def test_the_chain_to_a_heavy_package_is_found_at_the_start_that_imports_it() -> None:
    chains = import_chains((("-c", "import json"), ("-c", "import scipy"), ("-c", "import json, scipy")))
    assert [set(own) for own in chains.values()] == [set(), {"scipy"}, set()]
    (chain,) = list(chains.values())[1].values()
    assert chain.startswith("scipy")
