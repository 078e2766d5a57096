"""Layer-wise evaluation: linear probe and kNN on the output of every block.

Generative models often have their best features in the middle (iGPT, Chen et al. 2020; MIM-Refiner, Alkin et al. 2024).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch

from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import LinearProtocol, held_out_ridge
from darl.evaluation.subject import Readout, Subject
from darl.metrics import KNN, PROBE

__all__ = ["CONCATENATED", "Layer", "measure_layers"]

CONCATENATED = 4
"""How many of the last blocks are also read side by side, as in DINO's linear probe (Caron et al. 2021)."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What the features of a readout are worth: a row of the table. Accuracies are fractions in [0, 1]."""

    block: int
    """The last block that is read, from 1 on."""
    blocks: int
    """How many blocks up to that one are put side by side."""
    readout: str
    """The pooling: `mean`, `last` or `tokens`."""
    held_out_top1: float
    """Of the ridge regression that chooses a readout, on the held-out tenth of the training images."""
    probe_top1: float
    """Of the linear probe, on the validation images; `…_half_width` is half its 95 % interval over these."""
    probe_half_width: float
    knn_top1: float
    """Of the 20 nearest training images, on the validation images."""
    knn_half_width: float
    chosen: bool
    """Whether the linear probe chooses this readout (it compares those of single blocks)."""

    @property
    def name(self) -> str:
        """`block 3, mean`."""
        return str(Readout(self.block, self.readout, self.blocks))


def measure_layers(subject: Subject, *, mask: str = "kept") -> list[Layer]:
    """Every block, then the last four side by side, each by the model's own pooling and with its tokens side by side.

    Every readout has a linear probe with a penalty of its own. The features of all come from one pass over each split.
    mask: `kept`, or `removed` to read without the causal mask.
    """
    masked = mask == "kept"
    single = subject.candidates("best", "best")
    depth = single[-1].block
    both = subject.candidates(f"last{min(CONCATENATED, depth)}", "best") if depth > 1 else []
    poolings = {readout.pooling for readout in single}
    readouts = [*single, *(readout for readout in both if readout.pooling in poolings)]
    y, classes = subject.labels("train"), subject.classes
    train = subject.features("train", readouts, masked=masked)
    subject.features("validation", readouts, masked=masked)
    with torch.autocast(subject.device.type, enabled=False):
        ridges = {readout: held_out_ridge(x, y, classes) for readout, x in train.items()}
    chosen = min(single, key=lambda readout: ridges[readout].error)
    return [
        Layer(
            block=readout.block,
            blocks=readout.blocks,
            readout=readout.pooling,
            held_out_top1=ridges[readout].top1,
            chosen=readout == chosen,
            **_measured(subject, readout, mask),
        )
        for readout in readouts
    ]


def _measured(subject: Subject, readout: Readout, mask: str) -> Mapping[str, float]:
    """The accuracies on the validation images, with their intervals."""
    block = str(readout.block) if readout.blocks == 1 else f"last{readout.blocks}"
    result = {
        **LinearProtocol(block=block, readout=readout.pooling, mask=mask).measure(subject),
        **KnnProtocol(block=block, readout=readout.pooling, mask=mask).measure(subject),
    }
    columns = (PROBE.column, PROBE.half_width, KNN.column, KNN.half_width)
    return {column: cast("float", result[column]) for column in columns}
