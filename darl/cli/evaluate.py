"""`darl evaluate`: a checkpoint's features by the evaluation protocols, beside raw pixels and random weights."""

import argparse
from dataclasses import replace

from darl.cli.parser import CHECKPOINT_HELP, add_memory_flags, device_of


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl evaluate`."""
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--data", help="data to evaluate on (default: the data that it was trained on)")
    parser.add_argument(
        "--protocols",
        help="evaluation protocols with options, for example linear:enlarged=true,knn:neighbours=10 "
        "(default: linear,knn,few_shot,denoising; an unknown name lists all of them). Those that read features choose "
        "the block and the pooling on training images, or as given: block=last,readout=mean,mask=removed. segmentation "
        "(images with masks) and detection (COCO) read --data of their own kind",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the cost and measure nothing")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")
    add_memory_flags(parser.add_argument)


def run(flags: argparse.Namespace) -> None:
    """Print the metrics of a checkpoint, and of its yardsticks."""
    from darl.evaluation.dense.base import named_in

    if flags.protocols is not None and named_in(flags.protocols):
        from darl.cli.dense import evaluate_dense

        evaluate_dense(flags.protocols, [flags.checkpoint], [flags.data] if flags.data else [], flags)
        return
    device = device_of(flags.device)
    from rich.console import Console
    from rich.table import Table

    from darl.cli.load import load_data
    from darl.data import locate
    from darl.evaluation.protocol import Protocols, chosen_columns
    from darl.evaluation.standard import standard_evaluation
    from darl.training import checkpoint

    protocols = standard_evaluation() if flags.protocols is None else Protocols.parse(flags.protocols)
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    experiment = pretrained.experiment.changed({"data": locate(flags.data)} if flags.data else {})
    dataset = replace(load_data(experiment, flags), mean=pretrained.mean, std=pretrained.std)
    if flags.dry_run:
        cost = 2 * protocols.flops(dataset, pretrained.model.config)
        print(f"{protocols} on {experiment.data}: {cost / 1e15:.3g} PFLOPs, of which random weights take half")
        return
    model = pretrained.model.to(device)
    metrics = protocols(model, dataset, device)
    random = protocols(experiment.build().to(device), dataset, device)
    print(f"{flags.checkpoint} on {experiment.data}")  # not the table's title, which would break a long path
    table = Table("metric", "value", "raw pixels", "random weights")
    for metric in protocols.gives:
        values = metrics[metric.column], metrics.get(metric.pixels_column), random[metric.column]
        table.add_row(metric.column, *("-" if value is None else f"{value:.4f}" for value in values))
    Console().print(table)
    for column in chosen_columns():
        if column in metrics:
            print(f"{column}: {metrics[column]}; with random weights: {random[column]}")
    for kind, needs in protocols.unmet(model, dataset, device).items():
        print(f"{kind} needs {' and '.join(need.value for need in needs)}")
