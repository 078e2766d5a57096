"""Tokenizers' weights beside a sweep's tables, by their hash: `RESULTS/SWEEP/tokenizers/HASH.safetensors`."""

from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor

from darl.experiment import Experiment
from darl.storage.folder import WRITING, ResultsFolder
from darl.training.tokenizer import TrainedTokenizer, placed_weights

__all__ = ["TOKENIZERS", "initial_weights", "keep"]

TOKENIZERS = "tokenizers"
"""The folder of weights next to the tables."""


def keep(root: str, trained: TrainedTokenizer) -> None:
    """Write the weights, unless they are there. root: `RESULTS/SWEEP`, a local path or an address. Raises OSError."""
    folder, name = ResultsFolder(root, "results"), _file(trained.fingerprint)
    if not folder.is_file(name):
        for each in (WRITING, TOKENIZERS):
            folder.make(each)
        described = trained.description
        weights = {name: value.contiguous() for name, value in trained.weights.items()}
        folder.put(name, save(weights, None if described is None else described.to_metadata()))


def initial_weights(root: str, experiment: Experiment) -> Mapping[str, Tensor] | None:
    """The `initial` of `darl.training.pretrain.fit` for a sweep's trial: its tokenizer's weights; None without one.

    None too where they are missing, which `fit` refuses by name. Raises OSError.
    """
    if experiment.tokenizer_weights is None:
        return None
    data = ResultsFolder(root, "results").get(_file(experiment.tokenizer_weights))
    return None if data is None else placed_weights(load(data), experiment)


def _file(fingerprint: str) -> str:
    return f"{TOKENIZERS}/{fingerprint.replace(':', '-')}.safetensors"
