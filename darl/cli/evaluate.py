"""`darl evaluate`: a checkpoint's features by the evaluation protocols, beside raw pixels and random weights."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from darl.cli.parser import CHECKPOINT_HELP, add_memory_flags, device_of
from darl.variants import require

if TYPE_CHECKING:
    from darl.evaluation.protocol import Protocols, Value


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl evaluate`."""
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--data", help="data to evaluate on (default: the data that it was trained on)")
    parser.add_argument(
        "--protocols",
        help="evaluation protocols with options, as linear:enlarged=true,attentive,finetune:epochs=10 (default: "
        "linear,knn,few_shot,denoising,rankme; an unknown name lists all of them). Those that read features choose the "
        "block and the pooling on training images, or as given: block=last (last4: the last 4 side by side), "
        "readout=mean (tokens: side by side; pca64: their components), mask=removed",
    )
    once = "also the final figures on the test split, where data without a validation split has one"
    parser.add_argument("--test", action="store_true", help=once)
    depth = "instead: linear probe and kNN of every block, as a table and a figure in --output"
    parser.add_argument("--layers", action="store_true", help=depth)
    parser.add_argument("--output", default="layers", help="folder for layers.parquet and layers.png")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")
    add_memory_flags(parser.add_argument)


def run(flags: argparse.Namespace) -> None:
    """Print the metrics of a checkpoint, and of its yardsticks."""
    require(not (flags.layers and flags.protocols), "protocols", "be left out with --layers", flags.protocols)
    require(not (flags.layers and flags.test), "test", "be left out with --layers", flags.test)
    device = device_of(flags.device)

    from darl.cli.layers import write_layers
    from darl.cli.load import load_data
    from darl.data import locate
    from darl.evaluation.protocol import Protocols, chosen_columns
    from darl.evaluation.standard import standard_evaluation
    from darl.evaluation.subject import Subject
    from darl.training import checkpoint

    protocols = standard_evaluation() if flags.protocols is None else Protocols.parse(flags.protocols)
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    experiment = pretrained.experiment.changed({"data": locate(flags.data)} if flags.data else {})
    dataset = replace(load_data(experiment, flags), mean=pretrained.mean, std=pretrained.std)
    dataset = dataset if flags.test else dataset.deciding
    model = pretrained.model.to(device)
    if flags.layers:
        return write_layers(Subject(model.eval(), dataset, device), flags.output)
    metrics = protocols(model, dataset, device)
    random = protocols(experiment.build().to(device), dataset, device)
    print(f"{flags.checkpoint} on {experiment.data}")  # not the table's title, which would break a long path
    _print(protocols, metrics, random)
    print(f"decided on: {dataset.split} ({len(dataset.validation):,} images)")
    for column in chosen_columns():
        if column in metrics:
            print(f"{column}: {metrics[column]}; with random weights: {random[column]}")
    for kind, needs in protocols.unmet(model, dataset, device).items():
        print(f"{kind} needs {' and '.join(need.value for need in needs)}")
    return None


def _print(protocols: "Protocols", metrics: "Mapping[str, Value]", random: "Mapping[str, Value]") -> None:
    """Print the table. random: the same metrics with random weights."""
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value (± half of 95 %)", "raw pixels", "random weights")
    widths = {metric.half_width for metric in protocols.gives}
    for metric in protocols.gives:
        # a width stands beside its accuracy; top-5 of ten classes, say, is not measured
        if metric.column not in widths and metrics[metric.column] is not None:
            own, half = metrics[metric.column], metrics.get(metric.half_width)
            interval = "" if half is None else f" ± {half:.4f}"
            yardsticks = metrics.get(metric.pixels_column), random[metric.column]
            table.add_row(metric.column, _shown(own) + interval, *map(_shown, yardsticks))
            if metric.test_column in metrics:
                final = (metrics[metric.test_column], None, random[metric.test_column])
                table.add_row(metric.test_column, *map(_shown, final))
    Console().print(table)


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.4f}"
