"""A rival of a sweep's leader: one yardstick, and the cells in which it runs (`darl.sweep.yardsticks`)."""

from dataclasses import dataclass

__all__ = ["Rival"]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another way of training the leader's encoder."""

    name: str
    at_passes: str
    """The cell that sees each image as often as the leader."""
    at_flops: str
    """The cell that computes as much as the leader in training; the same one where the epochs are the same."""
    cost: float
    """Its operations for one image in training, as a multiple of the leader's."""
    epochs: int
    """Its epochs at equal operations."""
    uses_labels: bool
    """Whether it is trained with labels, so that it is no rival but a reference."""
