"""Private names of other libraries: all in one file each, and a test that says what breaks when one has gone."""

import importlib
import re
from pathlib import Path

import pytest

import darl
from darl.model.torch_internals import REASONS


@pytest.mark.parametrize("name", REASONS)
def test_the_private_name_is_still_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    if not hasattr(importlib.import_module(module), attribute):
        pytest.fail(f"{name} has gone. {REASONS[name]}")


def test_no_other_file_uses_private_names_of_torch_or_timm() -> None:
    private = re.compile(r"\b(torch|timm)(\.\w+)*\._[a-z]|from (torch|timm)\S* import .*\b_[a-z]")
    for path in Path(darl.__file__).parent.rglob("*.py"):
        if path.name != "torch_internals.py":
            lines = [line for line in path.read_text().splitlines() if private.search(line)]
            assert not lines, f"{path}: {lines}"
