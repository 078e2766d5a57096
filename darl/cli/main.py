"""The `darl` command. Only the module of the command that is asked for is imported."""

import importlib
import sys

from darl.cli.parser import Parser, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "pretrain": "pretrain a model, over one worker or many",
    "evaluate": "linear probe, kNN and validation loss of a checkpoint",
    "generate": "draw images with a checkpoint, patch by patch",
    "report": "the answer of a sweep's tables",
    "doctor": "what this machine and installation can do",
}
"""What each command does, by its name, which is also its module's: `add_flags(parser)` and `run(flags)` stand there."""


def main() -> None:
    """The `darl` command."""
    parser = Parser(prog="darl", description="Pretrain DARL, evaluate it, and read what sweeps have found.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    parsers = {name: commands.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    for name in COMMANDS.keys() & set(sys.argv[1:2]):
        module = importlib.import_module(f"darl.cli.{name}")
        module.add_flags(parsers[name])
        parsers[name].set_defaults(run=module.run)
    flags = parser.parse_args()
    run_command(lambda: flags.run(flags), flags)
