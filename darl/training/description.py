"""Weights files (safetensors), and what DARL's own say in their metadata about the run that they come from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from darl.experiment import Experiment
from darl.model.weights import METADATA_KEY, Origin

__all__ = ["Description", "is_averaged", "read_weights"]


@dataclass(frozen=True)
class Description:
    """The run that weights come from."""

    experiment: Experiment
    mean: tuple[float, ...]
    """Mean of the pixels per channel."""
    std: tuple[float, ...]
    """Standard deviation of the pixels per channel."""

    @property
    def origin(self) -> Origin:
        """What the weights say of their encoder."""
        return Origin(trunk=self.experiment.model_config, mean=self.mean, std=self.std)

    def to_metadata(self) -> dict[str, str]:
        """The metadata of a safetensors file."""
        record = {"experiment": self.experiment.to_record(), "mean": self.mean, "std": self.std}
        return {METADATA_KEY: json.dumps(record)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """The inverse of `to_metadata`; None for a file that DARL did not write. Raises UserError."""
        if METADATA_KEY not in metadata:
            return None
        record = json.loads(metadata[METADATA_KEY])
        return cls(Experiment.from_record(record["experiment"]), tuple(record["mean"]), tuple(record["std"]))


def is_averaged(metadata: Mapping[str, str]) -> bool | None:
    """Whether the run kept a moving average of its weights; None for a file that DARL did not write.

    Reads the record as it is, so that a variant which is not known here (a user's own) does no harm.
    """
    return bool(json.loads(metadata[METADATA_KEY])["experiment"]["optim"]["ema"]) if METADATA_KEY in metadata else None


def read_weights(file: Path) -> tuple[dict[str, Tensor], Description | None]:
    """The tensors of a safetensors file by name, and their description where DARL wrote it.

    Raises SafetensorError, OSError, and UserError where the description is of a variant that is not known.
    """
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() or {}
    return load_file(file), Description.from_metadata(metadata)
