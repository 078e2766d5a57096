"""`darl doctor`: what this machine and installation can do."""

import argparse

PACKAGES = ("darl", "torch", "torchvision", "timm", "ray", "optuna", "pyarrow", "pandas")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl doctor`."""
    parser.add_argument("--data", default="digits", help="data to look at")


def run(flags: argparse.Namespace) -> None:
    """Print installed versions, hardware, and the properties of the data."""
    import platform

    import torch
    from rich.console import Console
    from rich.table import Table

    from darl.data import content_of, locate

    table = Table("what", "found")
    table.add_row("python", platform.python_version())
    for name in PACKAGES:
        table.add_row(name, _version(name))
    table.add_row("CPU threads", str(torch.get_num_threads()))
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    table.add_row("GPUs", ", ".join(names) or "none")
    table.add_row("data", f"{locate(flags.data)}: {_describe_data(flags.data)}")
    table.add_row("content", str(content_of(flags.data)))
    Console().print(table)


def _version(package: str) -> str:
    """The installed version of a package, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _describe_data(name: str) -> str:
    """Size and channels of the first images, and the patch size that suits them."""
    from darl.data import defaults

    usual = defaults(name)
    return f"{usual.image_size} pixels, {usual.channels} channels, patches of {usual.patch_size}"
