"""The work of `darl pretrain` and `darl finetune`: train, in this process or over Ray's workers, and write the rows."""

import argparse
import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from darl.cli.cost import IMAGENET, PAPER, forecast
from darl.cli.flags import default_of
from darl.cli.load import check_batch, check_labels, check_protocols, load_data
from darl.cli.run_flags import results_root, workers_of
from darl.cli.same_data import with_content
from darl.data import Dataset
from darl.errors import one_line
from darl.evaluation.protocol import space_evenly
from darl.evaluation.standard import evaluation_of
from darl.experiment import Experiment, identity
from darl.metrics import METRICS
from darl.results.recorder import TrialRecorder, attempts_of
from darl.results.rows import now
from darl.results.tables import Results
from darl.storage.address import below
from darl.training import checkpoint
from darl.training.checkpoint_store import CHECKPOINTS, CheckpointStore
from darl.training.events import Evaluated
from darl.training.initialization import read_initialization
from darl.training.pretrain import Evaluation, fit
from darl.training.termination import EXIT_CODE, noted_terminations
from darl.training.tokenizer import TrainedTokenizer, placed_weights, read_tokenizer, with_tokens
from darl.training.trackers.base import TrackedPretraining, track


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """The evaluations of a run, as `fit` takes them."""

    full: Evaluation
    first: Evaluation | None = None
    on_the_way: Evaluation | None = None
    """That between the first epoch and the last; None for none."""
    count: int = 1
    """Number of evaluations, evenly spaced, with the last one."""

    def at(self, epochs: int) -> dict[int, Evaluation]:
        """`evaluate_at` of `fit`."""
        return {} if self.on_the_way is None else space_evenly(epochs, self.count, self.on_the_way)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """The training that one call of the command runs."""

    experiment: Experiment
    dataset: Dataset
    evaluations: Evaluations
    results: Results
    flags: argparse.Namespace
    initial: Mapping[str, Tensor] | None
    """The weights to start from, where the run begins."""
    tracked: TrackedPretraining
    """The trackers that `--log` names."""
    began: datetime
    evaluated: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The evaluations so far, as plain values."""

    @property
    def checkpoints(self) -> str:
        """The path or address of the run's checkpoints."""
        return below(self.results.path, f"{CHECKPOINTS}/{self.experiment.trial_id}")

    @property
    def is_whole(self) -> bool:
        """Whether the last epoch has been evaluated."""
        return bool(self.evaluated) and self.evaluated[-1]["epoch"] == self.experiment.epochs

    def on_evaluation(self, event: Evaluated) -> None:
        """Keep an evaluation, hand it to the trackers, and print it."""
        self.evaluated.append(asdict(event))
        self.tracked.log(event)
        print(event.describe(self.experiment.epochs), flush=True)


def pretrain(experiment: Experiment, flags: argparse.Namespace) -> None:
    """Load the data, train, and write the rows; does nothing if the run has finished before. Raises UserError.

    With `--dry-run` it prints what the run costs; of the paper's recipe for ImageNet, where no data is named.
    """
    if flags.dry_run and flags.recipe == PAPER and flags.data == default_of("data"):
        print("no --data: for ImageNet-1k")
        return print("\n".join(forecast(replace(experiment, content=IMAGENET), IMAGENET.train, workers_of(flags))))
    tokenizer = None if flags.tokenizer is None else _tokenizer(experiment, flags)
    dataset, initial = load_data(experiment, flags), None
    if tokenizer is not None:
        experiment, described = with_tokens(experiment, flags.tokens, tokenizer), tokenizer.description
        if described is not None:  # images must look to the tokenizer as they did when it was trained
            dataset = replace(dataset, mean=described.mean, std=described.std)
    check_labels(experiment, dataset)
    known = experiment.knowing({} if dataset.content is None else {experiment.data: dataset.content})
    if flags.dry_run or flags.recipe == PAPER:
        print("\n".join(forecast(known, len(dataset.train), workers_of(flags))), flush=True)
    if flags.dry_run:
        return None
    if flags.init is not None:
        start = read_initialization(flags.init, known, resample=flags.init_resample)
        experiment, initial = experiment.changed({"init": start.fingerprint}), start.weights
        print(f"starting from {flags.init}: " + "\n  ".join(start.describe()), flush=True)
    if tokenizer is not None:
        initial = {**(initial or {}), **placed_weights(tokenizer.weights, experiment)}
    full = evaluation_of(flags.protocols)
    check_protocols(full, experiment, dataset, flags)
    cheap = full.without_training()
    evaluations = Evaluations(full=full, on_the_way=cheap if cheap.members else None, count=flags.evaluations)
    train_and_record(experiment, dataset, evaluations, flags, name="pretrain", initial=initial)
    return None


def _tokenizer(experiment: Experiment, flags: argparse.Namespace) -> TrainedTokenizer:
    """The tokenizer of `--tokenizer`; raises UserError where it does not fit, before the data is loaded."""
    tokenizer = read_tokenizer(flags.tokenizer, experiment.channels, experiment.model.patch_size)
    with_tokens(experiment, flags.tokens, tokenizer)
    return tokenizer


def train_and_record(
    experiment: Experiment,
    dataset: Dataset,
    evaluations: Evaluations,
    flags: argparse.Namespace,
    *,
    name: str,
    initial: Mapping[str, Tensor] | None,
) -> Experiment:
    """Train, and write the rows; does nothing if the run has finished before. Raises UserError.

    Returns the experiment with the content of its data.
    name: of the folder in `--results`, where `--name` is not given. initial: the weights that the run starts from.
    """
    check_batch(experiment, dataset, flags)
    check_labels(experiment, dataset)
    results = Results(results_root(flags.results), flags.name or name)
    experiment = with_content(experiment, dataset, results)
    if not _is_finished(experiment, results):
        with results.claimed():
            trials, began = results.trials(), now()
            run = _Run(
                experiment=experiment,
                dataset=dataset,
                evaluations=evaluations,
                results=results,
                flags=flags,
                initial=initial,
                tracked=_prepare(experiment, results, trials, flags),
                began=began,
            )
            _train(run, trials)
    return experiment


def _is_finished(experiment: Experiment, results: Results) -> bool:
    trials = results.trials()
    finished = "finished" in set(trials.loc[trials["config"].map(experiment.is_same).astype(bool), "status"])
    if finished:
        print(f"{experiment.trial_id} is finished already: {results.trials_path}")
    return finished


def _prepare(
    experiment: Experiment, results: Results, trials: pd.DataFrame, flags: argparse.Namespace
) -> TrackedPretraining:
    """Say how the run begins, and connect to all that it needs; raises UserError where that cannot be used."""
    if CheckpointStore(results.path).newest(experiment) is not None:
        print("resuming from the last checkpoint; earlier evaluations are printed again", flush=True)
    elif experiment.finetuning is None:
        _note_other_epochs(experiment, results, trials)
    if not flags.no_ray:
        _connect(flags)
    results.prepare()
    return TrackedPretraining(track(flags.log, results.sweep, results.path), experiment)


def _train(run: _Run, trials: pd.DataFrame) -> None:
    """Train and write the rows, under the folder's lease."""
    store = CheckpointStore(run.results.path)
    store.begin(run.experiment)
    with noted_terminations() as terminated:
        error = (_train_here if run.flags.no_ray else _train_on_ray)(run, terminated)
    run.tracked.finish(failed=not run.is_whole)
    if terminated.is_set() and not run.is_whole:  # errors then come from processes that got the signal, too
        step = store.newest(run.experiment)
        when = "before its first checkpoint" if step is None else f"at {step}"
        print(f"stopped by SIGTERM {when}; run the same command to resume: {run.checkpoints}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    if error is None and not run.is_whole:
        error = "the last evaluation was not reported"
    recorder = TrialRecorder(run.results, workers_of(run.flags), attempts_of(trials))
    status = "failed" if error else "finished"
    recorder.record(run.experiment, run.evaluated, status=status, started_at=run.began, error=error)
    if error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)
    _print_final_figures(run)
    print(f"checkpoints: {run.checkpoints}\ntables: {run.results.trials_path}")


def _print_final_figures(run: _Run) -> None:
    """Print a line on the test split, where there is one; the evaluations before it were on held-out images."""
    final = run.evaluated[-1]["metrics"]
    parts = [
        f"{metric.name} {metric.format_value(final[metric.test_column])}"
        for metric in METRICS.values()
        if metric.test_column in final
    ]
    if parts and run.dataset.test is not None:
        print(f"test split ({len(run.dataset.test):,} images, used once): {', '.join(parts)}")


def _note_other_epochs(experiment: Experiment, results: Results, trials: pd.DataFrame) -> None:
    """Print a note if a finished run here differs only in its epochs: the new run does not continue that one."""
    own = _without_epochs(experiment.identity)
    start = "random weights" if experiment.init is None else "the weights of --init"
    finished = trials[trials["status"] == "finished"]
    for trial, config in zip(finished["trial_id"], finished["config"], strict=True):
        record = json.loads(config)
        if _without_epochs(identity(record)) == own:
            print(
                f"note: a run with --epochs {record['epochs']} is finished in this folder. "
                f"--epochs {experiment.epochs} is a different run (its learning-rate schedule differs) and starts from "
                f"{start}; to start from the finished weights: --init {below(results.path, f'{CHECKPOINTS}/{trial}')}",
                flush=True,
            )


def _without_epochs(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "epochs"}


def _train_here(run: _Run, terminated: threading.Event) -> str | None:
    """Run the loop in this process; returns the error that ended it, if any."""
    flags, experiment = run.flags, run.experiment
    with CheckpointStore(run.results.path).folder(experiment) as folder:
        try:
            for event in fit(
                experiment,
                run.dataset,
                device=torch.device("cuda" if flags.gpus_per_worker else "cpu"),
                folder=folder,
                resume=checkpoint.latest(folder),
                initial=run.initial,
                full=run.evaluations.full,
                first=run.evaluations.first,
                evaluate_at=run.evaluations.at(experiment.epochs),
                save_every=flags.save_every,
                execution=workers_of(flags).execution,
                stop=terminated.is_set,
            ):
                if isinstance(event, Evaluated):
                    run.on_evaluation(event)
        except (ArithmeticError, MemoryError, RuntimeError) as error:  # diverged, or out of memory in torch
            return one_line(error)
    return None


def _connect(flags: argparse.Namespace) -> None:
    """Join or start Ray; raises UserError if the workers do not fit."""
    from darl.distributed import cluster

    cluster.require_local_gpus(flags.workers, flags.gpus_per_worker)
    workers = "1 worker starts" if flags.workers == 1 else f"{flags.workers} workers start"
    print(f"starting Ray; {workers} as soon as resources are free", flush=True)
    cluster.connect()
    cluster.require_resources(flags.workers, flags.gpus_per_worker)


def _train_on_ray(run: _Run, terminated: threading.Event) -> str | None:
    """Run the loop over Ray's workers; returns the error that ended it, if any."""
    import ray

    from darl.distributed import cluster, trainer

    cluster.require_shared(run.results.path)
    return trainer.pretrain(
        run.experiment,
        ray.put(run.dataset),
        workers_of(run.flags),
        root=run.results.path,
        full=run.evaluations.full,
        first=run.evaluations.first,
        evaluate_at=run.evaluations.at(run.experiment.epochs),
        initial=run.initial,
        terminated=terminated,
        on_evaluation=run.on_evaluation,
    )
