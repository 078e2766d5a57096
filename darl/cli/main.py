"""The `darl` command. It imports only the module of the command that runs."""

import importlib
import sys

from darl.cli.parser import Parser, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "pretrain": "pretrain a model, over one worker or many",
    "tokenizer": "train a discrete VAE, whose tokens a model may read or predict",
    "finetune": "train a pretrained encoder on with a classifier, over one worker or many",
    "evaluate": "a checkpoint's features by linear probe, kNN and few labels, beside raw pixels",
    "embed": "the features of every image of a data set, as a Parquet file",
    "export": "a pretrained encoder in the files of timm, the Hugging Face Hub, ONNX",
    "generate": "draw images with a checkpoint, patch by patch",
    "orders": "patch orders ranked by how evenly hard they are, before anything is trained",
    "report": "the answer that a sweep's tables give",
    "doctor": "what this machine and installation can do",
}
"""Help of each command, by name. The module of that name has `add_flags(parser)` and `run(flags)`."""


def main() -> None:
    """The `darl` command."""
    parser = Parser(prog="darl", description="Pretrain DARL, evaluate it, and report the results of sweeps.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    parsers = {name: commands.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    for name in COMMANDS.keys() & set(sys.argv[1:2]):
        module = importlib.import_module(f"darl.cli.{name}")
        module.add_flags(parsers[name])
        parsers[name].set_defaults(run=module.run)
    flags = parser.parse_args()
    run_command(lambda: flags.run(flags), flags)
