"""`darl orders`: the patch orders ranked before training, and the ranking held against trained models."""

# pandas has no types: reports about the unknown types of what it returns are switched off, no others.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from darl.cli.data_flags import add_data_flags, located
from darl.cli.flags import DATA_HELP
from darl.cli.load import load_data
from darl.cli.parser import add_memory_flags, whole
from darl.experiment import Experiment
from darl.variants import require

if TYPE_CHECKING:
    import pandas as pd

    from darl.data import Dataset
    from darl.model.orders import Order
    from darl.report.findings import Findings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl orders`."""
    parser.epilog = (
        "For each order of all images: the mean squared error of the best linear predictor of a patch\n"
        "from those before it, over all steps, at the first and at the last (in the unit of val_loss),\n"
        "and its unevenness, the standard deviation of the steps' errors over their mean. Even orders\n"
        "come first, in the hope that none of their steps is wasted. Whether they give good features is\n"
        "said with --results, which holds the ranking against models trained in these orders."
    )
    parser.add_argument("--data", help=f"{DATA_HELP} (default: digits)")
    add_data_flags(parser.add_argument)
    parser.add_argument("--image-size", type=whole, help="pixels per side (default: the data's own)")
    parser.add_argument("--patch-size", type=whole, help="pixels per patch side (default: 2 for digits, 4 or 16)")
    trained = "a sweep that trained models in several orders, as sweeps/patch_order.py; its data and sizes are taken"
    parser.add_argument("--results", metavar="RESULTS/SWEEP", help=trained)
    parser.add_argument("--output", metavar="FILE", help="also write the table, as a .parquet file")
    add_memory_flags(parser.add_argument)


def run(flags: argparse.Namespace) -> None:
    """Print the ranking, and with `--results` whether it foretold what the trained models became."""
    _require_writable(flags.output)
    if flags.results is None:
        _show(ranking(*_asked(flags)), flags)
        return
    for name in ("data", "labels", "splits", "image_size", "patch_size"):
        require(getattr(flags, name) is None, name, "be left out with --results", getattr(flags, name))
    finding = _trained(flags.results)
    orders = {
        cell: experiment.order for cell, experiment in finding.experiments.items() if experiment.random_order is None
    }
    require(len(set(orders.values())) >= 2, "results", "hold models of two orders or more", flags.results)
    base, means = finding.sweep.base, finding.table.set_index("cell")[["mean", "seeds"]]
    table = ranking(load_data(base, flags), base.model.patch_size, orders).join(means, on="order")
    _show(table, flags, finding.metric)


def _require_writable(output: str | None) -> None:
    """Raise UserError unless it is None, or a .parquet file in a folder that can be written."""
    if output is not None:
        folder = Path(output).parent
        writable = output.endswith(".parquet") and folder.is_dir() and os.access(folder, os.W_OK)
        require(writable, "output", "be a .parquet file in a folder that can be written", output)


def _asked(flags: argparse.Namespace) -> "tuple[Dataset, int]":
    """The data and the patch size that the flags name."""
    from darl.data import defaults

    data = flags.data or "digits"
    name = located(flags, data)
    usual = defaults(name)
    patch_size = flags.patch_size or usual.patch_size
    sizes = {"image_size": flags.image_size or usual.image_size, "model.patch_size": patch_size}
    return load_data(Experiment().changed({"data": name, "channels": usual.channels, **sizes}), flags), patch_size


def ranking(dataset: "Dataset", patch_size: int, orders: "dict[str, Order] | None" = None) -> "pd.DataFrame":
    """A row for each order, the evenest first: `order`, `linear_loss`, `first`, `last`, `unevenness`.

    orders: by name; all kinds by default. The losses are those of `darl.evaluation.linear_prediction`.
    """
    import pandas as pd

    from darl.evaluation.linear_prediction import linear_errors, patch_statistics, unevenness
    from darl.model.orders import Order

    statistics = patch_statistics(dataset, patch_size)
    rows: list[dict[str, str | float]] = []
    for name, order in (orders or {kind: Order.parse(kind) for kind in Order.kinds()}).items():
        errors = linear_errors(statistics, order.permutation(*statistics.grid))
        ends = {"linear_loss": errors.mean().item(), "first": errors[0].item(), "last": errors[-1].item()}
        rows.append({"order": name, **ends, "unevenness": unevenness(errors)})
    return pd.DataFrame(rows).sort_values("unevenness", kind="stable", ignore_index=True)


def _trained(folder: str) -> "Findings":
    """The first comparison of a sweep's folder."""
    from darl.report.collect import findings_of, stages_of
    from darl.results.tables import Results, load, require_sweep
    from darl.storage.address import parent_and_name

    results = Results(*parent_and_name(folder))
    require_sweep(results.path)
    stages = stages_of(results)
    require(len(stages) > 0, "results", "be of a sweep", folder)
    return findings_of(stages, load(results.trials_path), results.curves())[0]


def _show(table: "pd.DataFrame", flags: argparse.Namespace, metric: str | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    from darl.metrics import METRICS

    shown = Table("order", title="Patch orders, the evenest first")
    losses = {"linear loss": "linear_loss", "first step": "first", "last step": "last", "unevenness": "unevenness"}
    for header in (*losses, *([] if metric is None else [METRICS[metric].name, "seeds"])):
        shown.add_column(header, justify="right")
    for row in table.to_dict("records"):
        trained = [] if metric is None else [METRICS[metric].format_value(row["mean"]), f"{row['seeds']:.0f}"]
        shown.add_row(str(row["order"]), *(f"{row[column]:.3f}" for column in losses.values()), *trained)
    Console().print(shown)
    if metric is not None:
        print(foretold(table, metric))
    if flags.output:
        table.to_parquet(flags.output, index=False)
        print(flags.output)


def foretold(table: "pd.DataFrame", metric: str) -> str:
    """Whether evenness foretold the metric, in words: Kendall's tau with its interval over orders."""
    from darl.metrics import METRICS
    from darl.sweep.statistics import kendall
    from darl.sweep.wording import several

    own = METRICS[metric]
    good = table["mean"] if own.higher_is_better else -table["mean"]
    tau = kendall((-table["unevenness"]).tolist(), good.astype(float).tolist())
    if math.isnan(tau.tau):
        return "Too few orders have results to say whether evenness foretells them."
    size = f"Kendall's tau {tau.tau:.2f}, 95 % interval {tau.low:.2f} to {tau.high:.2f}, {several(tau.n, 'orders')}"
    if tau.low > 0:
        return f"Evenness foretells {own.name}: evener orders are better ({size})."
    if tau.high < 0:
        return f"Evenness misleads: evener orders are worse by {own.name} ({size})."
    return f"Evenness does not foretell {own.name} ({size})."
