"""Random draws that depend on their purpose only, never on what was drawn before.

Every draw is made from a generator seeded by (seed, purpose, step, row chunk). So a run can be stopped after any step
and resumed exactly with no generator state to save, and the rows of a global batch get the same noise whichever worker
holds them: two workers draw what one would have drawn.
"""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ROWS", "draw_rows", "generator", "seed_of"]

ROWS = 32
"""Rows (images) drawn from one generator: fewer waste less at the edges of a worker's rows, more need fewer generators.
"""


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from what the draw is for, e.g. `seed_of(seed, "noise", step)`."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device`, seeded by what the draw is for."""
    return torch.Generator(device=device).manual_seed(seed_of(*parts))


def draw_rows(
    draw: Callable[[int, torch.Generator], Tensor], rows: range, *parts: int | str, device: torch.device | str = "cpu"
) -> Tensor:
    """The random tensor of the global batch's rows `rows`; a row's draw does not depend on which others are asked for.

    `draw(n, generator)` returns a tensor of `n` rows. It is called once for each chunk of `ROWS` rows that `rows`
    overlaps, each time with a generator seeded by the chunk and by `parts`, which say what the draw is for.
    """
    first = rows.start // ROWS
    last = (rows.stop + ROWS - 1) // ROWS
    chunks = [draw(ROWS, generator(*parts, chunk, device=device)) for chunk in range(first, last)]
    return torch.cat(chunks)[rows.start - first * ROWS : rows.stop - first * ROWS]
