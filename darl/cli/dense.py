"""`darl evaluate` by a dense protocol: it opens its own kind of data (`darl.evaluation.dense`)."""

import argparse
from typing import Any

from darl.cli.parser import device_of
from darl.errors import UserError
from darl.variants import require

__all__ = ["evaluate_dense"]


def evaluate_dense(flags: argparse.Namespace) -> None:
    """Print the metrics of a checkpoint on images with masks or boxes, beside raw pixels and random weights."""
    from darl.evaluation.dense.base import Setting
    from darl.training import checkpoint

    device = device_of(flags.device)
    protocol = _protocol(flags.protocols)
    require(bool(flags.data), "data", f"be given for {protocol.kind}: it reads {protocol.reads}", flags.data)
    protocol.check()
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    data = protocol.load(flags.data)
    config = pretrained.model.config
    cost = protocol.flops(data, config)
    if flags.dry_run:
        print(f"{protocol} on {data.name}: {2 * cost / 1e15:.3g} PFLOPs, of which random weights take half")
        return
    setting = Setting(mean=pretrained.mean, std=pretrained.std, device=device, loader_workers=flags.loader_workers)
    model = pretrained.model.to(device)
    metrics = {**protocol.measure(model, data, setting), **protocol.yardsticks(model, data, setting)}
    random = protocol.measure(pretrained.experiment.build().to(device), data, setting)
    print(f"{flags.checkpoint} on {data.name}")
    _print(protocol, metrics, random)


def _protocol(text: str) -> Any:
    """The one dense protocol that a text names. Raises UserError."""
    from darl.evaluation.dense.base import DenseProtocol
    from darl.evaluation.protocol import Protocol

    names = [part.partition(":")[0].strip() for part in text.split(",")]
    dense, plain = DenseProtocol.kinds(), Protocol.kinds()
    if len([name for name in names if name in dense or name in plain]) > 1:
        remedy = f"be one alone where it is {' or '.join(dense)}: they read other data than labelled images"
        raise UserError(f"must {remedy}, got {text!r}", field="protocols")
    return DenseProtocol.parse(text)


def _print(protocol: Any, metrics: dict[str, Any], random: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "raw pixels", "random weights")
    for metric in protocol.gives:
        values = metrics.get(metric.column), metrics.get(metric.pixels_column), random.get(metric.column)
        table.add_row(metric.column, *(metric.format_value(value) or "-" for value in values))
    Console().print(table)
    for column in protocol.chooses:
        print(f"{column}: {metrics[column]}; with random weights: {random[column]}")
