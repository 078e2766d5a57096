"""The command line: the `darl` command, and what every script under sweeps/ runs."""

from darl.cli.main import main

__all__ = ["main"]
