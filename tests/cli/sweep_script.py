"""Runs a script of `sweeps/` in this process."""

import runpy
import sys
from pathlib import Path

import pytest

__all__ = ["SWEEPS", "run"]

SWEEPS = Path(__file__).parents[2] / "sweeps"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, sweep: str = "noise_schedule") -> None:
    monkeypatch.setattr(sys, "argv", [f"{sweep}.py", *arguments])
    runpy.run_path(str(SWEEPS / f"{sweep}.py"), run_name="__main__")
