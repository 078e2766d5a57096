"""The result tables: their columns, their rows, their files."""

from darl.results.tables import Results, load

__all__ = ["Results", "load"]
