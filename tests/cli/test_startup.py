"""The imports of a command's start: help and mistakes import nothing that they do not need."""

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


@cache
def import_chains(python: tuple[str, ...]) -> dict[str, str]:
    """For each heavy package, the chain of modules that led to its first import, the last one first."""
    command = [sys.executable, "-X", "importtime", *python]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr.splitlines()
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


@pytest.mark.parametrize("name", STARTS)
def test_a_start_imports_only_allowed_packages(name: str) -> None:
    start = STARTS[name]
    allowed = import_chains(TORCH) if start.torch else {}
    needless = {package: chain for package, chain in import_chains(start.python).items() if package not in allowed}
    assert not needless, "\n".join(f"{package}: {chain}" for package, chain in needless.items())
