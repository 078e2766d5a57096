"""`darl evaluate`: a checkpoint's features by the evaluation protocols, beside raw pixels and random weights."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from darl.cli.data_flags import add_data_flags, require_left, require_one_set
from darl.cli.parser import CHECKPOINT_HELP, add_memory_flags, device_of
from darl.variants import require

if TYPE_CHECKING:
    import torch

    from darl.data import Dataset
    from darl.evaluation.protocol import Protocols
    from darl.evaluation.transfer import Target
    from darl.model.darl import Darl
    from darl.training.checkpoint import Pretrained


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl evaluate`."""
    parser.add_argument("checkpoint", nargs="+", metavar="RUN", help=f"{CHECKPOINT_HELP}; several are compared")
    parser.add_argument(
        "--data",
        nargs="+",
        help="data to evaluate on (default: the data that it was trained on). Several data sets or runs give a table, "
        "transfer.parquet, and a figure in --output; each costs a pass of each model over its images. `vtab`: the 19 "
        "tasks of VTAB-1k, or one as vtab:dtd, fitted on 1,000 images each and tested on the whole test split: from "
        "$DARL_DATA_ROOT/vtab/NAME, else through torchvision or the Hub, which download what they lack (tens of GB)",
    )
    add_data_flags(parser.add_argument)
    parser.add_argument(
        "--protocols",
        "--protocol",
        nargs="+",
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
    corrupted = (
        "instead: a linear probe, fitted to clean images, on validation images with 13 corruptions of ImageNet-C at 5 "
        "severities, as a table and a figure in --output; costs 65 passes over the validation images (at most 5,000) "
        "for each of model, raw pixels and random weights"
    )
    parser.add_argument("--robustness", action="store_true", help=corrupted)
    parser.add_argument(
        "--output", help="folder for tables and figures (default: transfer, layers or robustness, as what is written)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the cost and measure nothing")
    precise = "of the models' passes and of fine-tuning; auto is bfloat16 on GPUs, as in training"
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"], help=precise)
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")
    add_memory_flags(parser.add_argument)


def run(flags: argparse.Namespace) -> None:
    """Print the metrics of a checkpoint and of its yardsticks, or write a table of several."""
    from darl.evaluation.dense.base import named_in

    for instead in ("layers", "robustness"):
        for other in ("protocols", "test", "dry_run"):
            both = getattr(flags, instead) and getattr(flags, other)
            require(not both, other, f"be left out with --{instead}", getattr(flags, other))
    require(not (flags.layers and flags.robustness), "robustness", "be left out with --layers", True)
    given = ",".join(flags.protocols or [])
    if named_in(given):
        from darl.cli.dense import evaluate_dense

        require_left(flags, "data with masks or boxes")
        return evaluate_dense(given, flags.checkpoint, flags.data or [], flags)
    return _evaluate(given, flags)


def _evaluate(given: str, flags: argparse.Namespace) -> None:
    """Protocols of whole images. given: those of the command, as text."""
    device = device_of(flags.device)
    from darl.cli.transfer import targets_of
    from darl.evaluation.protocol import Protocols
    from darl.evaluation.standard import standard_evaluation
    from darl.training import checkpoint
    from darl.training.loop import autocast_to

    protocols = Protocols.parse(given) if given else standard_evaluation()
    targets = targets_of(flags.data or [])
    require_one_set(flags, [target.name for target in targets])
    runs = {name: checkpoint.load_pretrained(name) for name in flags.checkpoint}
    with autocast_to(flags.precision, device):
        return _judge(runs, targets, protocols, device, flags)


def _judge(
    runs: "dict[str, Pretrained]",
    targets: "list[Target]",
    protocols: "Protocols",
    device: "torch.device",
    flags: argparse.Namespace,
) -> None:
    from darl.cli.robustness import write_robustness
    from darl.cli.transfer import trained_on, write_transfer

    if flags.robustness:
        return write_robustness(runs, targets or trained_on(runs), device, flags)
    if len(runs) > 1 or len(targets) > 1 or any(target.group for target in targets):
        for other in ("layers", "dry_run"):
            require(not getattr(flags, other), other, "be left out with several runs or data sets", True)
        return write_transfer(runs, targets or trained_on(runs), protocols, device, flags)
    ((name, pretrained),) = runs.items()
    return _evaluate_one(name, pretrained, targets[0].name if targets else None, protocols, flags)


def _evaluate_one(
    name: str, pretrained: "Pretrained", data: str | None, protocols: "Protocols", flags: argparse.Namespace
) -> None:
    """One run on one data set."""
    from darl.cli.data_flags import located
    from darl.cli.layers import write_layers
    from darl.cli.load import load_data
    from darl.evaluation.subject import Subject

    device = device_of(flags.device)
    experiment = pretrained.experiment.changed({"data": located(flags, data, pretrained.experiment.data)})
    dataset = replace(load_data(experiment, flags), mean=pretrained.mean, std=pretrained.std)
    dataset = dataset if flags.test else dataset.deciding
    if flags.dry_run:
        cost = 2 * protocols.flops(dataset, pretrained.model.config)
        return print(f"{protocols} on {experiment.data}: {cost / 1e15:.3g} PFLOPs, of which random weights take half")
    model = pretrained.model.to(device)
    if flags.layers:
        return write_layers(Subject(model.eval(), dataset, device), flags.output or "layers")
    print(f"{name} on {experiment.data}")  # not the table's title, which would break a long path
    return _print_metrics(protocols, (model, pretrained.untrained().to(device)), dataset, device)


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
