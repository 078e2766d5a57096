"""Numbers as text for people."""

from typing import Any

import pandas as pd

from darl.metrics import METRICS

__all__ = [
    "above",
    "amount",
    "difference",
    "measured",
    "points",
    "probability",
    "score",
    "seconds",
    "seeds",
    "value",
]


def points(gain: float) -> str:
    """`+32.1`; nothing for NaN."""
    return "" if pd.isna(gain) else f"{100 * gain:+.1f}"


def score(value: float, metric: str) -> str:
    """`62.1 %` or `0.1234`; nothing for NaN."""
    return METRICS[metric].format_value(value)


def measured(row: Any, metric: str) -> str:
    """A cell's mean and the half-width of its interval: `62.1 % ± 0.8`."""
    half = (row["high"] - row["low"]) / 2
    return score(row["mean"], metric) + ("" if pd.isna(half) else f" ± {METRICS[metric].format_difference(half)}")


def above(difference: float, metric: str) -> str:
    """`0.3 points above`, `0.05 below`."""
    return f"{amount(abs(difference), metric)} {'below' if difference < 0 else 'above'}"


def difference(row: Any, metric: str) -> str:
    """A difference with its interval, for a table: `+0.3 (-0.4 to 1.0)`; nothing for NaN."""
    if pd.isna(row["difference"]):
        return ""
    shown, interval = METRICS[metric].format_difference(row["difference"]), between(row, metric)
    sign = "" if shown.startswith("-") else "+"
    return f"{sign}{shown}" + (f" ({interval})" if interval else "")


def probability(p: float) -> str:
    """`0.012`, `< 0.001`; nothing for NaN."""
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def seconds(time: float) -> str:
    """`12 s`; nothing for NaN."""
    return "" if pd.isna(time) else f"{time:.0f} s"


def seeds(row: Any) -> str:
    """The number of seeds: `3`, or `2 of 3 (dropped)` with the planned number and why it was not reached."""
    if row["seeds"] == row["planned"]:
        return str(row["seeds"])
    why = f" ({row['lacks']})" if row.get("lacks") else ""
    return f"{row['seeds']} of {row['planned']}{why}"


def value(field: Any) -> str:
    """A setting: whole numbers in full, others to four significant digits; nothing for a missing value."""
    if isinstance(field, str | bool):
        return str(field)
    if pd.isna(field):
        return ""
    is_whole = abs(field) < 1e15 and field == int(field)  # also of a column that pandas made floats of
    return str(int(field)) if is_whole else f"{field:.4g}"


def amount(difference: float, metric: str) -> str:
    """`0.3 points`, or `0.05` of a loss."""
    return METRICS[metric].format_difference_with_unit(difference)


def between(row: Any, metric: str) -> str:
    """The interval of a difference, without its unit: `-0.4 to 1.0`; nothing for NaN."""
    if pd.isna(row["difference_low"]):
        return ""
    low, high = (METRICS[metric].format_difference(row[name]) for name in ("difference_low", "difference_high"))
    return f"{low} to {high}"
