"""The parser of every command, and how commands end: a user's mistake is one line and exit code 2. Light to import."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from darl.cli.fields import in_flags
from darl.errors import TableWriteError, UserError
from darl.training.termination import EXIT_CODE, Terminated
from darl.variants import require

if TYPE_CHECKING:
    import torch

__all__ = ["CHECKPOINT_HELP", "Parser", "add_memory_flags", "count", "device_of", "nonnegative", "run_command", "whole"]

CHECKPOINT_HELP = "a run's folder of checkpoints, one of them, or a .safetensors file; also at s3:// or gs://"

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line."""

    def __init__(self, **settings: Any):
        settings.setdefault("formatter_class", _Help)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's line breaks, and shows the default of every flag that has one."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            self._action_max_length += 4  # argparse forgets that the commands are indented

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default is not None and action.default is not False and action.default != []
        return super()._get_help_string(action) if has_default else action.help


def run_command(command: Callable[[], T], flags: argparse.Namespace) -> T:
    """Run a command; the user's own mistakes are one line and exit code 2, an interruption is 130 (by SIGTERM 143).

    flags: the command's parsed flags; an error in a field is printed with the field's flag.
    """
    try:
        return command()
    except UserError as error:
        print(f"error: {in_flags(error, flags)}", file=sys.stderr)
        sys.exit(2)
    except TableWriteError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # as with `| head`: Python must not write to the pipe when it exits, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as error:
        print("interrupted; run the same command to resume from the tables and the last checkpoints", file=sys.stderr)
        sys.exit(EXIT_CODE if isinstance(error, Terminated) else 130)


def _number(convert: Callable[[str], Any], least: float, words: str) -> Callable[[str], Any]:
    """A `type` for `add_argument`: a number of at least `least`."""

    def parse(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not value >= least:  # `not >=` refuses NaN, too
            raise argparse.ArgumentTypeError(f"must be {words}, got {text!r}")
        return value

    return parse


whole = _number(int, 1, "a whole number of at least 1")

count = _number(int, 0, "a whole number of at least 0")

nonnegative = _number(float, 0, "a number of at least 0")


def add_memory_flags(add: Callable[..., Any]) -> None:
    """Add the flags for data in memory. add: `add_argument` of a parser or a group."""
    add("--memory-limit", type=float, default=4.0, help="GiB of decoded images that may be held in memory")
    add("--loader-workers", type=count, default=0, help="decoding processes for larger data sets, which are streamed")


def device_of(name: str | None) -> "torch.device":
    """The named device; without a name, the GPU if there is one. Raises UserError."""
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    require(name in ("cpu", "cuda"), "--device", "be cpu or cuda", name)
    require(name == "cpu" or torch.cuda.is_available(), "--device", "be cpu: no GPU is here", name)
    return torch.device(name)
