"""`darl doctor`: what this machine and installation can do, and how data is understood."""

import argparse
from typing import TYPE_CHECKING

from darl.cli.data_flags import add_data_flags, located, say_found
from darl.cli.fields import FLAGS

if TYPE_CHECKING:
    from darl.data import Decision

PACKAGES = ("darl", "torch", "torchvision", "timm", "ray", "optuna", "pyarrow", "pandas")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl doctor`."""
    parser.epilog = (
        "With --data also the line that every command begins with, and below it each decision in\n"
        "it: the flag that decides otherwise, the files that were left out, the classes that are\n"
        "empty (the first 100 of each)."
    )
    parser.add_argument("--data", default="digits", help="data to look at")
    add_data_flags(parser.add_argument)


def run(flags: argparse.Namespace) -> None:
    """Print installed versions, hardware, and how the data is understood."""
    import platform

    import torch
    from rich.console import Console
    from rich.table import Table

    from darl.data import defaults
    from darl.data.dataset import open_data

    name = located(flags, flags.data)
    usual = defaults(name)
    opened = open_data(name).looked_at(name, image_size=usual.image_size, channels=usual.channels)
    table = Table("what", "found")
    table.add_row("python", platform.python_version())
    for package in PACKAGES:
        table.add_row(package, _version(package))
    table.add_row("CPU threads", str(torch.get_num_threads()))
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    table.add_row("GPUs", ", ".join(names) or "none")
    suits = f"{usual.image_size} pixels, {usual.channels} channels, patches of {usual.patch_size}"
    table.add_row("data", f"{name}: {suits}")
    table.add_row("content", str(opened.content))
    Console().print(table)
    print(say_found(name, opened.content, opened.found))
    for decision in opened.found:
        print("\n".join(_detailed(decision)))


def _detailed(decision: "Decision") -> list[str]:
    """A decision, the flag that decides otherwise, and what it concerns, line by line."""
    flags = ", ".join(FLAGS[field] for field in decision.field.split(" and ") if field in FLAGS)
    return [f"- {decision.text}{f'  ({flags})' if flags else ''}", *(f"    {each}" for each in decision.details)]


def _version(package: str) -> str:
    """The installed version of a package, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
