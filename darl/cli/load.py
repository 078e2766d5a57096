"""The data of a command: loaded, with a line on how it was understood, and checked against the batch size."""

import argparse
import sys
from typing import TYPE_CHECKING

from darl import data
from darl.cli.data_flags import open_and_say
from darl.data.dataset import load_opened
from darl.errors import UserError
from darl.experiment import Experiment
from darl.training.parallel import microbatch_size
from darl.variants import require

if TYPE_CHECKING:
    from darl.data import Dataset
    from darl.evaluation.protocol import Protocols

__all__ = ["check_batch", "check_labels", "check_protocols", "load_data"]


def load_data(experiment: Experiment, flags: argparse.Namespace) -> "Dataset":
    """The data, in memory or streamed. How it was understood is printed, on standard error what was corrupt."""
    sizes = {"image_size": experiment.image_size, "channels": experiment.channels}
    dataset = load_opened(
        experiment.data,
        open_and_say(experiment.data, **sizes),
        **sizes,
        memory_limit=int(flags.memory_limit * 2**30),
        loader_workers=flags.loader_workers,
    )
    if dataset.skipped:
        shown = "".join(f"\n  {reason}" for reason in dataset.skipped[:5])
        more = f"\n  and {len(dataset.skipped) - 5} more" if len(dataset.skipped) > 5 else ""
        print(f"skipped {len(dataset.skipped)} corrupt images:{shown}{more}", file=sys.stderr)
    return dataset


def check_batch(experiment: Experiment, dataset: "Dataset", flags: argparse.Namespace) -> None:
    """Raise UserError if batch size, data, workers and `accumulate` do not fit together."""
    data.steps_per_epoch(len(dataset.train), experiment.batch_size)
    microbatch_size(experiment, flags.workers)


def check_labels(experiment: Experiment, dataset: "Dataset") -> None:
    """Raise UserError if labels are learned and the images have none."""
    if experiment.finetuning is not None:
        _ = dataset.class_count
        return
    kind, has = experiment.objective.kind, dataset.train.labels is not None
    whom = f"objective {kind}" if experiment.objective.needs_labels else "condition labels"
    require(has or not experiment.reads_labels, "data", f"have labels for {whom}", experiment.data)


def check_protocols(
    protocols: "Protocols", experiment: Experiment, dataset: "Dataset", flags: argparse.Namespace
) -> None:
    """Raise UserError if a protocol does not fit the model, or a fine-tuning's batches the data and the workers.

    A fine-tuning is trained on all workers of the run. Without labels it is not measured.
    """
    from darl.evaluation.finetune import FinetuneProtocol
    from darl.evaluation.subject import labelled

    config = experiment.knowing({} if dataset.content is None else {experiment.data: dataset.content}).model_config
    for protocol in protocols.members:
        protocol.check(config)
        if isinstance(protocol, FinetuneProtocol) and labelled(dataset):
            try:
                check_batch(protocol.experiment(config, len(dataset.train)), dataset, flags)
            except UserError as error:
                remedy = f"; its value is set by --protocols {protocol.kind}:{error.field}=N"
                raise UserError(error.message + remedy, field=f"protocol.{error.field}") from None
