"""Command-line flags, and the experiment that they describe. All sweeps and `darl pretrain` share them."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from darl import data
from darl.data import Dataset, load, steps_per_epoch
from darl.errors import UserError
from darl.experiment import Experiment
from darl.metrics import JUDGES, PROBE, VALIDATION_LOSS
from darl.model.encoder_config import SIZES, size_of
from darl.model.noise import Noise
from darl.model.objectives.base import Objective
from darl.model.orders import Order
from darl.model.positions import Position
from darl.optim import Optimizer
from darl.results.tables import TableWriteError
from darl.storage.address import normalized
from darl.sweep.samplers import Sampler
from darl.training.parallel import worker_part
from darl.training.trackers.base import Tracker
from darl.variants import Variant

__all__ = [
    "Options",
    "Parser",
    "add_experiment_flags",
    "add_run_flags",
    "add_sweep_flags",
    "check_batch",
    "load_data",
    "results_root",
    "speak_plainly",
    "workers_of",
]

CHECKPOINT_HELP = "a run's folder of checkpoints, one of them, or a .safetensors file; also at s3:// or gs://"


def load_data(experiment: Experiment, flags: argparse.Namespace) -> Dataset:
    """The data, in memory or streamed; corrupt images are counted and named on standard error."""
    dataset = load(
        experiment.data,
        image_size=experiment.image_size,
        channels=experiment.channels,
        memory_limit=int(flags.memory_limit * 2**30),
        loader_workers=flags.loader_workers,
    )
    if dataset.skipped:
        shown = "".join(f"\n  {reason}" for reason in dataset.skipped[:5])
        more = f"\n  and {len(dataset.skipped) - 5} more" if len(dataset.skipped) > 5 else ""
        print(f"skipped {len(dataset.skipped)} corrupt images:{shown}{more}", file=sys.stderr)
    return dataset


def check_batch(experiment: Experiment, dataset: Dataset, flags: argparse.Namespace) -> None:
    """Raise UserError where batch, data, workers and parts do not fit together."""
    steps_per_epoch(len(dataset.train), experiment.batch_size)
    worker_part(experiment, flags.workers)


def workers_of(flags: argparse.Namespace) -> Any:
    """How a run is spread out, as `darl.training.parallel.Workers`."""
    from darl.training.parallel import Workers

    return Workers(count=flags.workers, gpus=flags.gpus_per_worker, save_every=flags.save_every, compiled=flags.compile)


def results_root(results: str) -> str:
    """A relative path starts here, or in the home folder within a `ray job`, whose own folder is thrown away."""
    start = Path.home() if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else Path.cwd()
    return normalized(results, start)


T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """Argparse whose errors are one line."""

    def __init__(self, **settings: Any):
        settings.setdefault("formatter_class", _Help)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The description as it is written, and every flag's default."""


@dataclass(frozen=True)
class Options:
    """Parsed flags."""

    flags: argparse.Namespace

    def experiment(self, name: str | None = None) -> Experiment:
        """The experiment that the flags describe; what is not given comes from the data. Raises UserError.

        name: of the data, where `--data` takes several.
        """
        flags = self.flags
        goal = Objective.parse(flags.objective)
        order, position = Order.parse(flags.order), Position.parse(flags.position)
        noise = Noise.parse(flags.noise) if goal.uses_noise else None
        name = data.locate(name or str(flags.data))
        usual = data.defaults(name)  # opens the data: after the mistakes that can be found without it
        small = usual.image_size <= 8
        size = size_of(flags.model or ("nano" if small else "tiny"), patch_size=flags.patch_size or usual.patch_size)
        return Experiment(
            data=name,
            image_size=flags.image_size or usual.image_size,
            channels=usual.channels,
            augment=usual.augment,
            model=dataclasses.replace(size, readout=flags.readout),
            order=order,
            position=position,
            causal=not flags.no_causal,
            objective=goal,
            noise=noise,
            seed=flags.seed,
            epochs=flags.epochs or (flags.small_epochs if small else 100),
            batch_size=flags.batch_size,
            accumulate=flags.accumulate,
            learning_rate=flags.learning_rate,
            optim=Optimizer(weight_decay=flags.weight_decay, warmup=flags.warmup, ema=flags.ema),
            precision=flags.precision,
        )


def add_experiment_flags(
    parser: argparse.ArgumentParser, *, small_epochs: int = 30, data_sets: list[str] | None = None
) -> None:
    """What is trained, on what.

    small_epochs: the default number of epochs on images of 8 pixels. data_sets: the default where `--data` takes
    several.
    """
    add = parser.add_argument_group("what is trained").add_argument
    places = (
        "digits (embedded; digits:0-4 are some of its classes), a folder of images, Parquet with an image column, "
        "WebDataset .tar shards, torchvision:NAME or hub:OWNER/NAME; paths may be s3:// or gs://"
    )
    if data_sets is None:
        add("--data", default="digits", help=places)
    else:
        add("--data", nargs="+", default=data_sets, help=f"two or more of: {places}")
    parser.set_defaults(small_epochs=small_epochs)
    add("--model", choices=list(SIZES), help="size; nano for digits, tiny for other data, if not given")
    add("--image-size", type=_whole, help="pixels; the data's own (8 digits, 32 small images, 224 others) if not given")
    add("--patch-size", type=_whole, help="pixels; 2 for digits, 4 at 32 pixels, 16 at 224 if not given")
    add("--objective", default="diffusion", help=_kinds(Objective))
    add("--noise", default="beta:a=0.03,b=1", help=f"{_kinds(Noise)} (a sweep may search it)")
    add("--order", default="raster", help=_kinds(Order))
    add("--position", default="rope2d", help=_kinds(Position))
    add("--no-causal", action="store_true", help="without the causal mask")
    add("--readout", default="mean", choices=["mean", "last"], help="what the probes read")
    add("--epochs", type=_whole, help=f"{small_epochs} for digits, 100 for other data if not given")
    add("--batch-size", type=_whole, default=128, help="images per step, over all workers")
    add("--accumulate", type=_whole, default=1, help="parts that a batch is cut into, one pass each")
    add("--learning-rate", type=float, default=2e-3, help="peak")
    add("--weight-decay", type=float, default=0.05, help="AdamW's")
    add("--warmup", type=float, default=0.1, help="fraction of the steps in which the learning rate rises")
    add("--ema", type=float, default=0.0, help="decay of the weights' moving average; 0 keeps none")
    add("--precision", default="auto", choices=["auto", "float32", "bfloat16"], help="auto is bfloat16 on GPUs")
    add("--seed", type=_count, default=0, help="of initialisation, data order, augmentation and noise")


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """How it is run, and where the results go."""
    add = parser.add_argument_group("how it is run").add_argument
    add("--workers", type=_whole, default=1, help="processes per run")
    add("--gpus-per-worker", type=_gpus, default=0.0, help="GPUs of each; may be a fraction")
    add("--compile", action="store_true", help="torch.compile, for GPUs")
    add("--save-every", type=_whole, default=1000, help="steps between checkpoints, beside those after evaluations")
    add("--memory-limit", type=float, default=4.0, help="GiB up to which decoded images are held in memory")
    add("--loader-workers", type=_count, default=0, help="decoding processes of data sets beyond that")
    add("--results", default="results", help="folder or s3://, gs:// URI of the tables")
    add("--name", help="of the folder under --results; the command's own if not given")
    trackers = list(Tracker.kinds())
    add("--log", nargs="+", action="extend", default=[], choices=trackers, help="show each evaluation in these, too")


def add_sweep_flags(parser: argparse.ArgumentParser, *, trials: int | None, seeds: int) -> None:
    """What every sweep takes beside. trials: a search's usual number; a design has its cells × seeds."""
    add = parser.add_argument_group("the sweep").add_argument
    usual = f"{trials} points of a search, or cells × seeds of a design," if trials else "cells × seeds"
    parser.set_defaults(usual_trials=trials)
    add("--trials", type=_whole, help=f"in all, {usual} if not given; the same command with more goes on")
    add("--seeds", type=_whole, default=seeds, help="of each cell of a design; after a search its best run on them too")
    add(
        "--objective-metric",
        default=PROBE.column,
        choices=list(JUDGES),
        help=f"what decides; {VALIDATION_LOSS.column} needs no labels, but compares neither orders nor objectives",
    )
    add("--evaluations", type=_whole, default=2, help="of a design's trial, evenly spaced, the last epoch's among them")
    add("--sampler", default="tpe", help=f"of a search: {_kinds(Sampler)}")
    add("--no-early-stopping", action="store_true", help="run every trial of a search whole")
    add("--max-concurrent", type=_whole, help="trials at a time; as many as fit if not given")
    add("--max-trials", type=_whole, help="start no more in this call; the same command goes on")
    add("--max-hours", type=_hours, help="end this call after so long; the same command goes on")
    add("--max-gpu-hours", type=_hours, help="end this call after so many; the same command goes on")
    add("--dry-run", action="store_true", help="print cells, seeds, trials and the estimated cost; run nothing")
    add("--report", action="store_true", help="print the answer of the tables; run nothing")


def speak_plainly(command: Callable[[], T]) -> T:
    """Run a command; the user's own mistakes are one line and exit code 2, an interruption is 130."""
    try:
        return command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except TableWriteError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # as of `| head`; nothing more can be said there, also not when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the tables and the last checkpoints", file=sys.stderr)
        sys.exit(130)


def _kinds(family: type[Variant]) -> str:
    """Every kind of a family with its options, for the help."""
    shown: list[str] = []
    for kind, variant in family.kinds().items():
        names = ",".join(f"{field.name}={field.default}" for field in dataclasses.fields(variant))
        shown.append(f"{kind}[:{names}]" if names else kind)
    return " | ".join(shown)


def _number(convert: Callable[[str], Any], least: float, words: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not value >= least:  # NaN is not
            raise argparse.ArgumentTypeError(f"must be {words}, got {text!r}")
        return value

    return parse


_whole = _number(int, 1, "a whole number of at least 1")

_count = _number(int, 0, "a whole number of at least 0")

_gpus = _number(float, 0, "a number of at least 0")

_hours = _number(float, 0, "a number of at least 0")
