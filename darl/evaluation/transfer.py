"""Transfer: pretrained models on many data sets, as one table with a row for each metric.

A data set that cannot be loaded or judged is a row with its error. Means over data sets say how many they hold, and
which are missing: a mean over those that happened to load is no figure that anybody else has.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from darl.evaluation.protocol import Protocol, Protocols, Value
from darl.metrics import METRICS, TOP1, Metric

if TYPE_CHECKING:
    import torch

    from darl.data import Dataset
    from darl.model.darl import Darl

__all__ = ["Row", "Target", "TransferMean", "failure", "main_metric", "means", "transfer"]

TEST = "test"


@dataclass(frozen=True)
class Target:
    """A data set that models are transferred to."""

    name: str
    """As the user gave it; a task of a benchmark as `vtab:NAME`."""
    group: str | None = None
    """The group of tasks that it belongs to in its benchmark."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric of one model on one data set: a row of the table. Accuracies are fractions in [0, 1]."""

    run: str
    """The run as the user gave it."""
    data: str
    group: str | None = None
    protocol: str
    metric: str
    """Its column in the other tables (`darl.metrics`)."""
    value: float | None = None
    """None where `error` says why."""
    half_width: float | None = None
    """Half the 95 % interval; None where the protocol gives none."""
    pixels: float | None = None
    """The same for raw pixels; None where the protocol reads no features."""
    random: float | None = None
    """The same for the model before training."""
    chosen: str | None = None
    """What the protocol chose on training images, as the block that it reads."""
    train_images: int | None = None
    images: int | None = None
    """How many images the value is measured on."""
    split: str | None = None
    """Which images these are: `validation`, `held out of train` or `test`."""
    note: str | None = None
    """What else the figure depends on, as how a source without splits was split."""
    error: str | None = None


def transfer(
    protocols: Protocols,
    run: str,
    models: "Sequence[Darl]",
    target: Target,
    dataset: "Dataset",
    device: "torch.device",
    note: str | None = None,
) -> list[Row]:
    """The rows of one model on one data set. Raises what the protocols raise.

    Args:
        protocols: what is measured, with the yardsticks beside it.
        run: the model's name in the table.
        models: the pretrained model, and one of the same configuration with its initial weights.
        target: the data set's name.
        dataset: its images, at the models' size. Where it has a test split, its final figures are rows as well.
        device: where all of this is computed.
        note: what the figures depend on, for the table.

    """
    unmet = protocols.unmet(models[0], dataset, device)
    own, random = (protocols(model.to(device), dataset, device) for model in models)
    rows: list[Row] = []
    for protocol in protocols.members:
        about = Row(run=run, data=target.name, group=target.group, protocol=protocol.kind,
                    metric=main_metric(protocol).column, note=note)  # fmt: skip
        if protocol.kind in unmet:
            needs = " and ".join(need.value for need in unmet[protocol.kind])
            rows.append(replace(about, error=f"{protocol.kind} needs {needs}"))
        else:
            chosen = "; ".join(str(own[column]) for column in protocol.chooses if own.get(column))
            rows.extend(_measured(protocol, dataset, own, random, replace(about, chosen=chosen or None)))
    return rows


def _measured(
    protocol: Protocol, dataset: "Dataset", own: Mapping[str, Value], random: Mapping[str, Value], about: Row
) -> Iterator[Row]:
    """A row for each metric that was measured; half widths stand beside their accuracies."""
    widths = {metric.half_width for metric in protocol.gives}
    about = replace(
        about, train_images=len(dataset.train), images=len(dataset.validation), split=dataset.split
    )  # fmt: skip
    for metric in protocol.gives:
        if metric.column in widths or own[metric.column] is None:
            continue
        yield replace(
            about, metric=metric.column, value=_number(own[metric.column]),
            half_width=_number(own.get(metric.half_width)), pixels=_number(own.get(metric.pixels_column)),
            random=_number(random[metric.column]),
        )  # fmt: skip
        if metric.test_column in own and dataset.test is not None:
            yield replace(
                about, metric=metric.column, value=_number(own[metric.test_column]),
                random=_number(random[metric.test_column]), images=len(dataset.test), split=TEST,
            )  # fmt: skip


def failure(protocols: Protocols, run: str, target: Target, error: str) -> list[Row]:
    """The rows of a data set that could not be loaded or judged: one for each protocol."""
    return [
        Row(run=run, data=target.name, group=target.group, protocol=protocol.kind,
            metric=main_metric(protocol).column, error=error)
        for protocol in protocols.members
    ]  # fmt: skip


def main_metric(protocol: Protocol) -> Metric:
    """The metric that stands for a protocol in short tables and figures: the first that it gives."""
    return protocol.gives[0]


@dataclass(frozen=True, kw_only=True)
class TransferMean:
    """The mean of one metric over the tasks of a group, with what it holds and what it lacks."""

    run: str
    protocol: str
    metric: str
    group: str
    """`all` for all groups together."""
    value: float | None
    """None where no task of the group was measured."""
    held: int
    tasks: int
    """How many the group has."""
    missing: tuple[str, ...]

    def __str__(self) -> str:
        tasks = f"{self.tasks} task{'' if self.tasks == 1 else 's'}"
        if self.value is None:
            return f"{self.group}: none of {tasks}"
        shown = METRICS[self.metric].format_value(self.value) if self.metric in METRICS else f"{self.value:.4g}"
        lack = f"; missing: {', '.join(self.missing)}" if self.missing else ""
        return f"{self.group}: {shown}, mean of {self.held} of {tasks}{lack}"


def means(rows: Iterable[Row], run: str, protocol: Protocol) -> list[TransferMean]:
    """The means of a protocol's main metric over the tasks of each group, in the rows' order, and over all of them.

    Only rows with a group count, and only accuracies: losses of different data have no mean. A task without a value is
    missing, by name; it changes no mean in silence.
    """
    main = main_metric(protocol)
    metric = main.column
    groups = dict[str, dict[str, float | None]]()
    for row in rows:
        if row.group is not None and (row.run, row.protocol, row.metric) == (run, protocol.kind, metric):
            groups.setdefault(row.group, {}).setdefault(row.data, row.value)
    if not groups or main.unit is not TOP1:
        return []
    groups["all"] = {task: value for tasks in list(groups.values()) for task, value in tasks.items()}
    result: list[TransferMean] = []
    for group, tasks in groups.items():
        values = [value for value in tasks.values() if value is not None]
        result.append(
            TransferMean(
                run=run, protocol=protocol.kind, metric=metric, group=group,
                value=statistics.fmean(values) if values else None, held=len(values), tasks=len(tasks),
                missing=tuple(task for task, value in tasks.items() if value is None),
            )
        )  # fmt: skip
    return result


def _number(value: Value) -> float | None:
    return None if value is None else float(cast("float", value))
