"""`darl evaluate`: a checkpoint's features by the evaluation protocols, beside raw pixels and random weights."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from darl.cli.parser import CHECKPOINT_HELP, add_memory_flags, device_of
from darl.variants import require

if TYPE_CHECKING:
    import torch

    from darl.data import Dataset
    from darl.evaluation.protocol import Protocols
    from darl.model.darl import Darl


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl evaluate`."""
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--data", help="data to evaluate on (default: the data that it was trained on)")
    parser.add_argument(
        "--protocols",
        help="evaluation protocols with options, as linear:enlarged=true,attentive,finetune:epochs=10 (default: "
        "linear,knn,few_shot,denoising,rankme; an unknown name lists all of them). Those that read features choose the "
        "block and the pooling on training images, or as given: block=last (last4: the last 4 side by side), "
        "readout=mean (tokens: side by side; pca64: their components), mask=removed. segmentation (images with masks) "
        "and detection (COCO) read --data of their own kind",
    )
    once = "also the final figures on the test split, where data without a validation split has one"
    parser.add_argument("--test", action="store_true", help=once)
    depth = "instead: linear probe and kNN of every block, as a table and a figure in --output"
    parser.add_argument("--layers", action="store_true", help=depth)
    parser.add_argument("--output", default="layers", help="folder for layers.parquet and layers.png")
    parser.add_argument("--dry-run", action="store_true", help="print the cost and measure nothing")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")
    add_memory_flags(parser.add_argument)


def run(flags: argparse.Namespace) -> None:
    """Print the metrics of a checkpoint, and of its yardsticks."""
    from darl.evaluation.dense.base import named_in

    if flags.protocols is not None and named_in(flags.protocols):
        from darl.cli.dense import evaluate_dense

        evaluate_dense(flags.protocols, [flags.checkpoint], [flags.data] if flags.data else [], flags)
    else:
        _evaluate(flags)


def _evaluate(flags: argparse.Namespace) -> None:
    device = device_of(flags.device)
    from darl.cli.layers import write_layers
    from darl.cli.load import load_data
    from darl.data import locate
    from darl.evaluation.protocol import Protocols
    from darl.evaluation.standard import standard_evaluation
    from darl.evaluation.subject import Subject
    from darl.training import checkpoint

    require(not (flags.layers and flags.protocols), "--protocols", "be left out with --layers", flags.protocols)
    require(not (flags.layers and flags.dry_run), "--dry-run", "be left out with --layers", flags.dry_run)
    protocols = standard_evaluation() if flags.protocols is None else Protocols.parse(flags.protocols)
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    experiment = pretrained.experiment.changed({"data": locate(flags.data)} if flags.data else {})
    dataset = replace(load_data(experiment, flags), mean=pretrained.mean, std=pretrained.std)
    dataset = dataset if flags.test else dataset.deciding
    if flags.dry_run:
        cost = 2 * protocols.flops(dataset, pretrained.model.config)
        print(f"{protocols} on {experiment.data}: {cost / 1e15:.3g} PFLOPs, of which random weights take half")
        return
    model = pretrained.model.to(device)
    if flags.layers:
        write_layers(Subject(model.eval(), dataset, device), flags.output)
        return
    print(f"{flags.checkpoint} on {experiment.data}")  # not the table's title, which would break a long path
    _print_metrics(protocols, (model, experiment.build().to(device)), dataset, device)


def _print_metrics(
    protocols: "Protocols", models: "tuple[Darl, Darl]", dataset: "Dataset", device: "torch.device"
) -> None:
    """The metrics of a pretrained model on one data set. models: that model, and one with its initial weights."""
    from rich.console import Console
    from rich.table import Table

    from darl.evaluation.protocol import chosen_columns

    metrics, random = (protocols(model, dataset, device) for model in models)
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
    print(f"decided on: {dataset.split} ({len(dataset.validation):,} images)")
    for column in chosen_columns():
        if column in metrics:
            print(f"{column}: {metrics[column]}; with random weights: {random[column]}")
    for kind, needs in protocols.unmet(models[0], dataset, device).items():
        print(f"{kind} needs {' and '.join(need.value for need in needs)}")


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.4f}"
