"""The `darl` command."""

from darl.cli import doctor, evaluate, generate, pretrain, report
from darl.cli.flags import Parser, speak_plainly

__all__ = ["main"]

_COMMANDS = {
    "pretrain": (pretrain, "pretrain a model, over one worker or many"),
    "evaluate": (evaluate, "linear probe, kNN and validation loss of a checkpoint"),
    "generate": (generate, "draw images with a checkpoint, patch by patch"),
    "report": (report, "the answer of a sweep's tables"),
    "doctor": (doctor, "what this machine and installation can do"),
}


def main() -> None:
    """The `darl` command."""
    parser = Parser(prog="darl", description="Pretrain DARL, evaluate it, and read what sweeps have found.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        module.add_flags(command)
        command.set_defaults(run=module.run)
    flags = parser.parse_args()
    speak_plainly(lambda: flags.run(flags))
