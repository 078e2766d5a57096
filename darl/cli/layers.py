"""What `darl evaluate --layers` adds: a table and a figure of the accuracy over depth."""

# pyarrow has no types: reports about the unknown types of what it returns are switched off, no others.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from darl.errors import UserError, reason
from darl.storage.folder import ResultsFolder
from darl.variants import require

if TYPE_CHECKING:
    from darl.evaluation.layers import Layer
    from darl.evaluation.subject import Subject

__all__ = ["write_layers"]


def write_layers(subject: "Subject", output: str) -> None:
    """Measure every block, print the table, and write it and its figure into the folder `output`. Raises UserError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from darl.evaluation.layers import measure_layers
    from darl.report.figures.layers import draw_layers
    from darl.report.figures.style import applied

    require(subject.labelled, "data", "have labels in both splits for --layers", subject.dataset.name)
    folder = _writable(output)
    layers = measure_layers(subject)
    pixels = _pixels(subject)
    _print(layers, pixels)
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(layer) for layer in layers]), table)
    picture = io.BytesIO()
    with applied():
        draw_layers(layers, pixels).figure.savefig(picture, format="png", dpi=150)
    for name, file in (("layers.parquet", table), ("layers.png", picture)):
        folder.put(name, file.getvalue())
        print(folder.path(name))


def _writable(output: str) -> ResultsFolder:
    """The folder, made if need be: found out before minutes of evaluation."""
    folder = ResultsFolder(output, "output")
    try:
        folder.prepare()
    except OSError as error:
        raise UserError(
            f"must be a folder that can be written, got {output!r} ({reason(error)})", field="output"
        ) from None
    return folder


def _pixels(subject: "Subject") -> "dict[str, float]":
    """The accuracies of raw pixels by the same protocols."""
    from darl.evaluation.knn import KnnProtocol
    from darl.evaluation.linear import LinearProtocol

    measured = [protocol.yardsticks(subject.dataset, subject.device) for protocol in (LinearProtocol(), KnnProtocol())]
    return {column: cast("float", value) for values in measured for column, value in values.items()}


def _print(layers: "list[Layer]", pixels: "dict[str, float]") -> None:
    from rich.console import Console
    from rich.table import Table

    from darl.metrics import KNN, PROBE

    table = Table("features", "ridge, held out", *(metric.name for metric in (PROBE, KNN)))
    for layer in layers:
        accuracies = (
            f"{getattr(layer, metric.column):.4f} ± {getattr(layer, metric.half_width):.4f}" for metric in (PROBE, KNN)
        )
        chosen = " *" if layer.chosen else ""
        table.add_row(layer.name + chosen, f"{layer.held_out_top1:.4f}", *accuracies)
    table.add_row("raw pixels", "", *(f"{pixels[metric.pixels_column]:.4f}" for metric in (PROBE, KNN)))
    Console().print(table)
    print("* the linear probe's choice among single blocks; ± half of the 95 % interval over the validation images")
