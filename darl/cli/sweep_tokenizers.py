"""The tokenizers of a sweep: trained before its trials, once, and kept beside its tables.

    RESULTS/SWEEP_tokenizers/           their trainings, in the form of `darl tokenizer`, which resumes them
    RESULTS/SWEEP/tokenizers/HASH.…     their weights, where trials find them

A script's cells name a tokenizer (`tokenizer`) without the hash of its weights, which is known once it is trained.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from darl.cli.run_flags import results_root
from darl.cli.stages import Pipeline
from darl.experiment import Experiment
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.variants import require

if TYPE_CHECKING:
    from darl.data import Dataset
    from darl.results.tables import Results
    from darl.training.tokenizer import TrainedTokenizer

__all__ = ["trained_before", "with_known", "with_trained"]

Hashes = Mapping[str, str]
"""The hash of each tokenizer's weights, by its text."""


def with_trained(
    pipeline: Pipeline, trainings: Sequence[Experiment], datasets: "Mapping[str, Dataset]", flags: argparse.Namespace
) -> Pipeline:
    """The stages, whose cells know their tokenizers' weights; those that are missing are trained first.

    Raises UserError. Where a training fails, it says so and ends the process, as `darl tokenizer` does.
    """
    if not trainings:
        return pipeline
    from darl.cli.pretraining import Evaluations, train_and_record
    from darl.cli.tokenizer import describe, figure_of
    from darl.evaluation.reconstruction import TokenizerEvaluation
    from darl.results.tables import Results

    name = pipeline.first[0].name
    own, hashes = Results(results_root(flags.results), _folder(name)), dict[str, str]()
    for training in trainings:
        assert training.tokenizer is not None
        dataset = datasets[training.data_key]
        evaluation = TokenizerEvaluation(training.tokenizer.vocabulary, training.model.patch_size)
        evaluations = Evaluations(full=evaluation, on_the_way=evaluation, count=1)
        print(f"tokenizer {training.tokenizer}: {training.epochs} epochs", flush=True)
        done = train_and_record(training, dataset, evaluations, _as_run(flags, name), name="", initial=None)
        if not own.has_file(figure_of(done)):
            describe(done, dataset, own)
        hashes[str(done.tokenizer)] = _keep(own, done, Results(results_root(flags.results), name))
    return replace(pipeline, first=[_filled(stage, hashes) for stage in pipeline.first])


def with_known(
    pipeline: Pipeline, trainings: Sequence[Experiment], datasets: "Mapping[str, Dataset]", flags: argparse.Namespace
) -> Pipeline:
    """The stages, whose cells know the weights of those tokenizers that are trained. Nothing is written."""
    if not trainings:
        return pipeline
    from darl.results.tables import Results

    own, hashes = Results(results_root(flags.results), _folder(pipeline.first[0].name)), dict[str, str]()
    trials = own.trials()
    for training in trained_before(trainings, datasets):
        finished = trials.loc[trials["trial_id"] == training.trial_id, "status"] == "finished"
        if finished.any():
            hashes[str(training.tokenizer)] = _read(own, training).fingerprint
    return replace(pipeline, first=[_filled(stage, hashes) for stage in pipeline.first])


def trained_before(trainings: Sequence[Experiment], datasets: "Mapping[str, Dataset]") -> list[Experiment]:
    """The trainings with the content of their data."""
    return [replace(training, content=datasets[training.data_key].content) for training in trainings]


def _filled(stage: Sweep, hashes: Hashes) -> Sweep:
    """The sweep, whose cells with a tokenizer have its hash where it is known."""
    require(isinstance(stage, Design), "tokenizer", "be of a design's cells", stage.kind)
    assert isinstance(stage, Design)
    weights = {
        label: {"tokenizer_weights": hashes[point["tokenizer"]]} if point.get("tokenizer") in hashes else {}
        for label, point in stage.cells.items()
    }
    return replace(stage, cells={label: {**point, **weights[label]} for label, point in stage.cells.items()})


def _folder(name: str) -> str:
    return f"{name}_tokenizers"


def _as_run(flags: argparse.Namespace, name: str) -> argparse.Namespace:
    """A sweep's flags as those of one run: in this process, unless there are several workers, GPUs or a bucket."""
    from darl.storage.address import is_remote

    here = flags.workers == 1 and not flags.gpus_per_worker and not is_remote(results_root(flags.results))
    return argparse.Namespace(**{**vars(flags), "name": _folder(name), "no_ray": here, "log": []})


def _read(own: "Results", training: Experiment) -> "TrainedTokenizer":
    from darl.storage.address import below
    from darl.training.checkpoint_store import CHECKPOINTS
    from darl.training.tokenizer import read_tokenizer

    path = below(own.path, f"{CHECKPOINTS}/{training.trial_id}")
    return read_tokenizer(path, training.channels, training.model.patch_size)


def _keep(own: "Results", training: Experiment, results: "Results") -> str:
    """Put the weights where the sweep's trials look for them; returns their hash."""
    from darl.training.tokenizer_store import keep

    trained = _read(own, training)
    keep(results.path, trained)
    return trained.fingerprint
