"""Counts in words, for texts that describe a sweep."""

__all__ = ["several"]


def several(count: int, things: str) -> str:
    """`3 fresh seeds`, `one fresh seed`."""
    return f"one {things.removesuffix('s')}" if count == 1 else f"{count:,} {things}"
