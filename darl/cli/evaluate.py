"""`darl evaluate`: linear probe, kNN, validation loss and other protocols on a checkpoint."""

import argparse
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from darl.cli.flags import CHECKPOINT_HELP, load_data
from darl.data import locate
from darl.evaluation.protocol import Protocols
from darl.evaluation.standard import standard
from darl.training import checkpoint
from darl.variants import require


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl evaluate`."""
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--data", help="other data than it was trained on")
    parser.add_argument(
        "--protocols",
        help="what is measured, with options: say linear:enlarged=true,knn:neighbours=10 "
        "(default: linear,knn,denoising; an unknown name is answered by all names)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--memory-limit", type=float, default=4.0, help="GiB of decoded images held in memory")
    parser.add_argument("--loader-workers", type=int, default=0, help="decoding processes beyond that")


def run(flags: argparse.Namespace) -> None:
    """Print the metrics of a checkpoint."""
    protocols = standard() if flags.protocols is None else Protocols.parse(flags.protocols)
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    experiment = pretrained.experiment.changed({"data": locate(flags.data)} if flags.data else {})
    dataset = replace(load_data(experiment, flags), mean=pretrained.mean, std=pretrained.std)
    require(flags.device in ("cpu", "cuda"), "--device", "be cpu or cuda", flags.device)
    require(flags.device == "cpu" or torch.cuda.is_available(), "--device", "be cpu: no GPU is here", flags.device)
    device = torch.device(flags.device)
    metrics = protocols(pretrained.model.to(device), dataset, device)
    table = Table("metric", "value", title=f"{flags.checkpoint} on {experiment.data}")
    for metric in protocols.gives:
        value = metrics[metric.column]
        table.add_row(metric.column, "-" if value is None else f"{value:.4f}")
    Console().print(table)
