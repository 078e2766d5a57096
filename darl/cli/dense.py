"""`darl evaluate` by a dense protocol: it opens its own kind of data (`darl.evaluation.dense`)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from darl.cli.parser import device_of
from darl.errors import UserError
from darl.variants import require

if TYPE_CHECKING:
    from darl.evaluation.dense.base import DenseProtocol
    from darl.evaluation.protocol import Value

__all__ = ["evaluate_dense"]


def evaluate_dense(text: str, checkpoints: Sequence[str], names: Sequence[str], flags: argparse.Namespace) -> None:
    """Print the metrics of checkpoints on images with masks or boxes, beside raw pixels and random weights.

    Args:
        text: the protocol with its options.
        checkpoints: those that are measured.
        names: of the data sets that they are measured on.
        flags: `device`, `loader_workers` and `dry_run`.

    Raises UserError.

    """
    device = device_of(flags.device)
    from darl.evaluation.dense.base import Setting
    from darl.training import checkpoint

    protocol = _protocol(text)
    require(bool(names), "data", f"be given for {protocol.kind}: it reads {protocol.reads}", None)
    protocol.check()
    runs = {path: checkpoint.load_pretrained(path) for path in checkpoints}
    for data in map(protocol.load, names):
        for path, run in runs.items():
            cost = protocol.flops(data, run.model.config)
            if flags.dry_run:
                print(f"{protocol} on {data.name}: {2 * cost / 1e15:.3g} PFLOPs, of which random weights take half")
                continue
            setting = Setting(mean=run.mean, std=run.std, device=device, loader_workers=flags.loader_workers)
            model = run.model.to(device)
            metrics = {**protocol.measure(model, data, setting), **protocol.yardsticks(model, data, setting)}
            random = protocol.measure(run.untrained().to(device), data, setting)
            print(f"{path} on {data.name}")
            _print(protocol, metrics, random)


def _protocol(text: str) -> DenseProtocol:
    """The one dense protocol that a text names. Raises UserError."""
    from darl.evaluation.dense.base import DenseProtocol
    from darl.evaluation.protocol import Protocol

    names = [part.partition(":")[0].strip() for part in text.split(",")]
    dense, plain = DenseProtocol.kinds(), Protocol.kinds()
    if len([name for name in names if name in dense or name in plain]) > 1:
        remedy = f"be one alone where it is {' or '.join(dense)}: they read other data than labelled images"
        raise UserError(f"must {remedy}, got {text!r}", field="protocols")
    return DenseProtocol.parse(text)


def _print(protocol: DenseProtocol, metrics: Mapping[str, Value], random: Mapping[str, Value]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "raw pixels", "random weights")
    for metric in protocol.gives:
        values: list[Any] = [metrics.get(metric.column), metrics.get(metric.pixels_column), random.get(metric.column)]
        table.add_row(metric.column, *(metric.format_value(value) or "-" for value in values))
    Console().print(table)
    for column in protocol.chooses:
        print(f"{column}: {metrics[column]}; with random weights: {random[column]}")
