"""The order of an epoch's images: a function of the split, the seed and the epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from darl.data.sources.base import WINDOW, Groups
from darl.data.splits import Images, Stream
from darl.randomness import generator
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Int64

__all__ = ["epoch_order", "steps_per_epoch"]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of full batches in `n` images; an epoch leaves out the rest. Raises UserError if there is none."""
    require(1 <= batch_size <= n, "batch_size", f"be between 1 and the {n} training images", batch_size)
    return n // batch_size


def epoch_order(split: Images | Stream, seed: int, epoch: int) -> Int64[Tensor, " images"]:
    """A permutation of the split's images.

    A stream whose rows are read in groups is shuffled for locality: the groups first, then the rows within windows of
    `WINDOW` bytes of groups, so that each group is read once an epoch.
    """
    g = generator(seed, "order", epoch)
    groups = split.source.groups if isinstance(split, Stream) else None
    if groups is None:
        return torch.randperm(len(split), generator=g)
    return _grouped_order(len(split), groups, g)


def _grouped_order(n: int, groups: Groups, g: torch.Generator) -> Int64[Tensor, " images"]:
    """Shuffled groups, cut into windows of about `WINDOW` bytes, with the rows shuffled within each window."""
    order = torch.randperm(len(groups.starts), generator=g).numpy()
    stops = np.append(groups.starts[1:], n)
    window = (np.cumsum(groups.sizes[order]) - groups.sizes[order]) // WINDOW
    shuffled = []
    for group_numbers in np.split(order, np.flatnonzero(np.diff(window)) + 1):
        rows = np.concatenate([np.arange(int(groups.starts[group]), int(stops[group])) for group in group_numbers])
        shuffled.append(torch.from_numpy(rows)[torch.randperm(len(rows), generator=g)])
    return torch.cat(shuffled)
