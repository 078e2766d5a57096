"""`darl evaluate`: linear probe, kNN and validation loss of a checkpoint."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from darl.cli.parser import CHECKPOINT_HELP, add_memory_flags
from darl.variants import require

if TYPE_CHECKING:
    import torch


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl evaluate`."""
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--data", help="data to evaluate on (default: the data that it was trained on)")
    parser.add_argument(
        "--protocols",
        help="evaluation protocols with options, for example linear:enlarged=true,knn:neighbours=10 "
        "(default: linear,knn,denoising; an unknown name lists all of them)",
    )
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")
    add_memory_flags(parser.add_argument)


def run(flags: argparse.Namespace) -> None:
    """Print the metrics of a checkpoint."""
    device = _device(flags.device)
    from rich.console import Console
    from rich.table import Table

    from darl.cli.flags import load_data
    from darl.data import locate
    from darl.evaluation.protocol import Protocols
    from darl.evaluation.standard import standard_evaluation
    from darl.training import checkpoint

    protocols = standard_evaluation() if flags.protocols is None else Protocols.parse(flags.protocols)
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    experiment = pretrained.experiment.changed({"data": locate(flags.data)} if flags.data else {})
    dataset = replace(load_data(experiment, flags), mean=pretrained.mean, std=pretrained.std)
    model = pretrained.model.to(device)
    metrics = protocols(model, dataset, device)
    print(f"{flags.checkpoint} on {experiment.data}")  # not the table's title, which would break a long path
    table = Table("metric", "value")
    for metric in protocols.gives:
        value = metrics[metric.column]
        table.add_row(metric.column, "-" if value is None else f"{value:.4f}")
    Console().print(table)
    for kind, needs in protocols.unmet(model, dataset, device).items():
        print(f"{kind} needs {' and '.join(need.value for need in needs)}")


def _device(name: str | None) -> "torch.device":
    """The named device; without a name, the GPU if there is one. Raises UserError."""
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    require(name in ("cpu", "cuda"), "--device", "be cpu or cuda", name)
    require(name == "cpu" or torch.cuda.is_available(), "--device", "be cpu: no GPU is here", name)
    return torch.device(name)
