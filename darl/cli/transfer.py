"""What `darl evaluate` does with several data sets or runs, or a benchmark: one table and a figure."""

# pyarrow has no types: reports about the unknown types of what it returns are switched off, no others.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false

import argparse
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from darl.cli.layers import writable
from darl.errors import UserError, one_line
from darl.variants import field_types

if TYPE_CHECKING:
    import torch

    from darl.data import Dataset
    from darl.evaluation.protocol import Protocols
    from darl.evaluation.transfer import Row, Target
    from darl.storage.folder import ResultsFolder
    from darl.training.checkpoint import Pretrained

__all__ = ["BENCHMARK", "Pair", "exit_for", "pairs", "table_bytes", "targets_of", "trained_on", "write_transfer"]

BENCHMARK = "vtab"
"""The name of a benchmark in `--data`; one of its tasks is `vtab:NAME`."""


def targets_of(names: Sequence[str]) -> "list[Target]":
    """The data sets of `--data`; `vtab` stands for its 19 tasks. Raises UserError for a task that it does not have."""
    from darl.evaluation.transfer import Target

    targets: list[Target] = []
    for name in names:
        if name.partition(":")[0] == BENCHMARK:
            from darl.data.vtab import tasks_named

            targets += [Target(f"{BENCHMARK}:{task.name}", task.group) for task in tasks_named(name)]
        else:
            targets.append(Target(name))
    return list(dict.fromkeys(targets))


def trained_on(runs: "dict[str, Pretrained]") -> "list[Target]":
    """The data that the runs were trained on, each once."""
    from darl.evaluation.transfer import Target

    return [Target(data) for data in dict.fromkeys(run.experiment.data for run in runs.values())]


def write_transfer(
    runs: "dict[str, Pretrained]", targets: "list[Target]", protocols: "Protocols", device: "torch.device",
    flags: argparse.Namespace,
) -> None:  # fmt: skip
    """Judge every run on every data set; write table and figure, print the table. Exits with 1 if a data set failed.

    The table is written whole after each evaluation, so that what was measured outlives an interruption.
    """
    from darl.evaluation.transfer import failure, transfer

    folder = writable(flags.output or "transfer")
    rows: list[Row] = []
    for pair in pairs(runs, targets, flags):
        run, target = pair.run, pair.target
        try:
            models = pair.pretrained.model, pair.pretrained.untrained()
            rows += transfer(protocols, run, models, target, pair.dataset(), device, pair.note)
        except Exception as error:  # whatever one pair lacks, as memory or a file, the others go on
            rows += failure(protocols, run, target, pair.said(error))
        folder.put("transfer.parquet", table_bytes(rows))
    _print(rows, protocols)
    _draw(folder, rows)
    exit_for((row.run, row.data, row.value is not None) for row in rows)


@dataclass(frozen=True)
class Pair:
    """A run and a data set that it is judged on, at the size and with the channels of its model."""

    run: str
    pretrained: "Pretrained"
    target: "Target"
    loaded: "Dataset | Exception"
    """The data set, or why it could not be loaded."""
    note: str | None

    def dataset(self) -> "Dataset":
        """The data set, normalised as in pretraining; raises the error where it could not be loaded."""
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return replace(self.loaded, mean=self.pretrained.mean, std=self.pretrained.std)

    def said(self, error: Exception) -> str:
        """The error as one line, which is also printed."""
        line = str(error) if isinstance(error, UserError) else one_line(error)
        print(f"{self.run} on {self.target.name}: {line}", file=sys.stderr)
        return line


def pairs(runs: "dict[str, Pretrained]", targets: "list[Target]", flags: argparse.Namespace) -> Iterator[Pair]:
    """Every run on every data set, which is loaded once for all models of one size."""
    for target in targets:
        loaded: dict[tuple[int, int], tuple[Dataset | Exception, str | None]] = {}
        for run, pretrained in runs.items():
            form = pretrained.experiment.image_size, pretrained.experiment.channels
            if form not in loaded:
                try:
                    loaded[form] = load_target(target, pretrained, flags)
                except Exception as error:  # data sets of other libraries raise anything
                    loaded[form] = error, None
            yield Pair(run, pretrained, target, *loaded[form])


def load_target(
    target: "Target", pretrained: "Pretrained", flags: argparse.Namespace
) -> "tuple[Dataset, str | None]":  # fmt: skip
    """A data set at the model's size and channels, and a note on how it was split. Raises UserError."""
    from darl.cli.data_flags import located, require_left
    from darl.cli.load import load_data

    experiment = pretrained.experiment
    if target.name.startswith(f"{BENCHMARK}:"):
        from darl.data.vtab import load_task, tasks_named

        require_left(flags, target.name)
        (task,) = tasks_named(target.name)
        memory = int(flags.memory_limit * 2**30)
        return load_task(
            task, image_size=experiment.image_size, channels=experiment.channels, memory_limit=memory,
            loader_workers=flags.loader_workers,
        )  # fmt: skip
    dataset = load_data(experiment.changed({"data": located(flags, target.name)}), flags)
    return (dataset if flags.test else dataset.deciding), None


def table_bytes(rows: Sequence[Any]) -> bytes:
    """Rows of one dataclass as a Parquet file; columns have the fields' types, also where all values are None."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    types = field_types(type(rows[0]))  # a column's type, or that or None
    schema = pa.schema([(name, kinds[next(iter(get_args(kind)), kind)]) for name, kind in types.items()])
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema), file)
    return file.getvalue()


def _print(rows: "Sequence[Row]", protocols: "Protocols") -> None:
    """A line for each data set and run, with a column for each protocol's first metric and one for raw pixels."""
    from rich.table import Table

    from darl.evaluation.transfer import main_metric, means
    from darl.report.terminal import wide_console

    runs = list(dict.fromkeys(row.run for row in rows))
    metrics = [main_metric(protocol) for protocol in protocols.members]
    names = [name for metric in metrics for name in (metric.name, "raw pixels")]
    table = Table("data", *(["run"] if len(runs) > 1 else []), *names, "images")
    shown = {(row.data, row.run, row.protocol, row.metric): row for row in reversed(rows)}
    for data, run in dict.fromkeys((row.data, row.run) for row in rows):
        own = [shown[data, run, each.kind, main_metric(each).column] for each in protocols.members]
        where = next((f"{row.images:,}, {row.split}" for row in own if row.images is not None), "-")
        cells = [cell for row in own for cell in (_value(row), "-" if row.pixels is None else f"{row.pixels:.4f}")]
        table.add_row(data, *([run] if len(runs) > 1 else []), *cells, where)
    wide_console().print(table)
    print("± half of the 95 % interval")
    for run in runs:
        for protocol in protocols.members:
            lines = [str(mean) for mean in means(rows, run, protocol)]
            if lines:
                print(f"{run}, {main_metric(protocol).name}:", *lines, sep="\n  ")


def _value(row: "Row") -> str:
    if row.value is None:
        return "failed"
    return f"{row.value:.4f}" + ("" if row.half_width is None else f" ± {row.half_width:.4f}")


def _draw(folder: "ResultsFolder", rows: "Sequence[Row]") -> None:
    from darl.report.figures.style import applied
    from darl.report.figures.transfer import draw_transfer

    print(folder.path("transfer.parquet"))
    drawn = draw_transfer(rows)
    if drawn is not None:
        picture = io.BytesIO()
        with applied():
            drawn.figure.savefig(picture, format="png", dpi=150)
        folder.put("transfer.png", picture.getvalue())
        print(folder.path("transfer.png"))


def exit_for(measured: Iterable[tuple[str, str, bool]]) -> None:
    """Exit with 1 where nothing of a run on a data set was measured.

    measured: of each row its run, its data, and whether it has a value.
    """
    values: dict[tuple[str, str], bool] = {}
    for run, data, has_value in measured:
        values[run, data] = values.get((run, data), False) or has_value
    failed = [pair for pair, has_value in values.items() if not has_value]
    if failed:
        names = ", ".join(dict.fromkeys(data for _, data in failed))
        print(f"error: {len(failed)} of {len(values)} evaluations failed: {names}", file=sys.stderr)
        sys.exit(1)
