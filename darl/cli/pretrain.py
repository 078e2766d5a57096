"""`darl pretrain`: train one model, in this process or over Ray's workers."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from darl.cli.flags import (
    Options,
    add_experiment_flags,
    add_run_flags,
    check_batch,
    load_data,
    results_root,
    workers_of,
)
from darl.cli.same_data import with_content
from darl.data import Dataset
from darl.errors import named
from darl.evaluation.protocol import Measures, evenly
from darl.experiment import Experiment
from darl.report.format import several
from darl.results.rows import curve_row, image_flops, now, provenance, trial_row
from darl.results.tables import Results
from darl.storage.address import below
from darl.training import checkpoint
from darl.training.checkpoint_store import CheckpointStore
from darl.training.events import Evaluated
from darl.training.pretrain import fit
from darl.variants import require

Tell = Callable[[Evaluated], None]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl pretrain`."""
    add_experiment_flags(parser)
    add_run_flags(parser)
    parser.add_argument("--evaluations", type=int, default=4, help="evaluations during the run, evenly spaced")
    parser.add_argument("--no-ray", action="store_true", help="the plain loop in this process, without Ray")


def run(flags: argparse.Namespace) -> None:
    """Pretrain one model, and write its rows."""
    experiment = Options(flags).experiment()
    dataset = load_data(experiment, flags)
    require(not (flags.no_ray and flags.workers > 1), "--workers", "be 1 with --no-ray", flags.workers)
    check_batch(experiment, dataset, flags)
    results = Results(results_root(flags.results), flags.name or "pretrain")
    experiment = with_content(experiment, dataset, results)
    trials = results.trials()
    own = trials.loc[trials["config"].map(experiment.is_same).astype(bool)]
    if "finished" in set(own["status"]):
        print(f"{experiment.trial_id} is finished already: {results.trials_path}")
        return
    checkpoints = below(results.path, f"checkpoints/{experiment.trial_id}")
    if checkpoint.begun(checkpoints):
        print("going on from the last checkpoint; what was evaluated before it is told again", flush=True)
    began, evaluations = now(), list[dict[str, Any]]()

    def tell(event: Evaluated) -> None:
        evaluations.append(asdict(event))
        print(event.describe(experiment.epochs), flush=True)

    error = (_pretrain_here if flags.no_ray else _pretrain_on_ray)(experiment, dataset, results, flags, tell)
    if error is None and (not evaluations or evaluations[-1]["epoch"] < experiment.epochs):
        error = "the last evaluation was not reported"
    row = trial_row(
        experiment,
        evaluations,
        status="failed" if error else "finished",
        attempt=len(own) + 1,
        started_at=began,
        workers=flags.workers,
        device="cuda" if flags.gpus_per_worker else "cpu",
        flops=image_flops(experiment),
        error=error,
    )
    results.add_curve(experiment.trial_id, len(own) + 1, [curve_row(event) for event in evaluations])
    results.add_trial(row | provenance())
    if error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"checkpoints: {checkpoints}\ntables: {results.trials_path}")


def _pretrain_here(
    experiment: Experiment, dataset: Dataset, results: Results, flags: argparse.Namespace, tell: Tell
) -> str | None:
    require("://" not in results.path, "--results", "be a local folder with --no-ray", flags.results)
    require(not flags.gpus_per_worker or torch.cuda.is_available(), "--gpus-per-worker", "be 0: no GPU is here", 1)
    results.prepare()
    CheckpointStore(results.path).begin(experiment)
    folder = Path(results.path) / "checkpoints" / experiment.trial_id
    try:
        for event in fit(
            experiment,
            dataset,
            device=torch.device("cuda" if flags.gpus_per_worker else "cpu"),
            folder=folder,
            resume=checkpoint.latest(folder),
            full=Measures(),
            evaluate_at=evenly(experiment.epochs, flags.evaluations),
            save_every=flags.save_every,
            compiled=flags.compile,
        ):
            if isinstance(event, Evaluated):
                tell(event)
    except (ArithmeticError, MemoryError, RuntimeError) as error:  # diverged, or torch has no room for it
        return named(error)
    return None


def _pretrain_on_ray(
    experiment: Experiment, dataset: Dataset, results: Results, flags: argparse.Namespace, tell: Tell
) -> str | None:
    import ray

    from darl.distributed import cluster, trainer

    print(f"starting Ray, then {several(flags.workers, 'workers')} as soon as there is room", flush=True)
    cluster.connect()
    cluster.require_resources(flags.workers, flags.gpus_per_worker)
    results.prepare()
    CheckpointStore(results.path).begin(experiment)
    cluster.require_shared(results.path)
    return trainer.pretrain(
        experiment,
        ray.put(dataset),
        workers_of(flags),
        storage=below(results.path, "checkpoints"),
        evaluate_at=evenly(experiment.epochs, flags.evaluations),
        tell=tell,
    )
