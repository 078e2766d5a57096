"""Shared by the tests of commands."""

import sys
from collections.abc import Callable

import pytest

from darl.cli import main


@pytest.fixture
def call_darl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str, object]]:
    """Run `darl` in this process; returns standard output, standard error and the exit code."""

    def call(*words: object) -> tuple[str, str, object]:
        monkeypatch.setattr(sys, "argv", ["darl", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return said.out, said.err, code

    return call
