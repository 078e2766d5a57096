"""timm's arguments in the encoder's words: sizes, poolings, rates."""

from darl.variants import require

__all__ = ["pair", "readout", "require_rates", "side"]

_READOUTS = {"avg": "mean", "token": "last", "": "mean"}
"""The readout of each `global_pool` of timm's that the encoder has."""


def require_rates(**rates: float) -> None:
    """Raise UserError for a rate outside of [0, 1)."""
    for name, rate in rates.items():
        require(0 <= rate < 1, name, "be in [0, 1)", rate)


def pair(pixels: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width); timm's own files have a list."""
    if isinstance(pixels, int):
        return pixels, pixels
    height, width = pixels
    return height, width


def side(patch_size: int | tuple[int, int]) -> int:
    """The side of a square patch; raises UserError for any other patch."""
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    require(height == width, "patch_size", "be square", patch_size)
    return height


def readout(global_pool: str) -> str:
    """The readout of timm's `global_pool`; raises UserError for a pooling that the encoder does not have."""
    require(global_pool in _READOUTS, "global_pool", "be avg (mean of the patches) or token (the last)", global_pool)
    return _READOUTS[global_pool]
