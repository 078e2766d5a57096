"""Pictures of a sweep: each takes frames and axes, and reads no files.

Colour-blind safe: probes by lightness (cividis), kinds of points by shape as well.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

__all__ = ["draw_curves", "draw_map", "overview"]

KNOWN = {"paper (0.03, 1)": (0.03, 1.0, "*"), "uniform (1, 1)": (1.0, 1.0, "s"), "cosine (0.5, 0.5)": (0.5, 0.5, "D")}
"""Beta schedules that readers know: a, b and the marker."""
NAMES = {"probe_top1": "linear probe, top-1 in %", "knn_top1": "kNN, top-1 in %", "val_loss": "validation loss"}


def overview(trials: pd.DataFrame, curves: pd.DataFrame, metric: str = "probe_top1") -> Figure:
    """The map of the trials beside their learning curves."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_map(trials, left, metric)
    draw_curves(trials, curves, right, metric)
    return figure


def draw_map(trials: pd.DataFrame, axes: Axes, metric: str = "probe_top1") -> None:
    """Beta's a and b in log axes: finished trials coloured by their result, stopped ones small and hollow."""
    finished, stopped = (
        trials.query(f"noise == 'beta' and status == '{status}'") for status in ("finished", "stopped")
    )
    hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": "0.45", "label": "stopped early"}
    axes.scatter(stopped["noise_a"], stopped["noise_b"], s=22, **hollow)
    factor = 1 if metric == "val_loss" else 100
    values = [factor * float(value) for value in finished[metric]]
    shades = Normalize(min(values, default=0.0), max(values, default=1.0))
    filled: dict[str, Any] = {"norm": shades, "cmap": "cividis", "edgecolors": "black", "linewidths": 0.7}
    rest = finished
    for name, (a, b, marker) in KNOWN.items():
        here = f"abs(noise_a - {a}) < 1e-6 and abs(noise_b - {b}) < 1e-6"
        rows, rest = finished.query(here), rest.query(f"not ({here})")
        size = 190 if marker == "*" else 90
        axes.scatter(
            rows["noise_a"], rows["noise_b"], c=factor * rows[metric], marker=marker, s=size, label=name, **filled
        )
    shown = axes.scatter(rest["noise_a"], rest["noise_b"], c=factor * rest[metric], s=90, label="finished", **filled)
    axes.set(xscale="log", yscale="log", xlabel="a  (small: much noise)", ylabel="b", title="Trials over Beta(a, b)")
    axes.figure.colorbar(shown, ax=axes, label=NAMES[metric])
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    axes.grid(alpha=0.25)


def draw_curves(trials: pd.DataFrame, curves: pd.DataFrame, axes: Axes, metric: str = "probe_top1") -> None:
    """The metric over epochs: the best trial and the paper's in colour, all others grey."""
    scale = 1 if metric == "val_loss" else 100
    finished = trials.query("status == 'finished'").sort_values(metric, ascending=metric == "val_loss")
    best = finished["trial_id"].tolist()[:1]
    paper = trials.query("abs(noise_a - 0.03) < 1e-6 and abs(noise_b - 1) < 1e-6")["trial_id"].tolist()
    for trial, rows in curves.sort_values("epoch").groupby("trial_id"):
        style = {"color": "0.75", "linewidth": 1.0, "zorder": 1}
        if trial in best:
            style = {"color": "#0072B2", "linewidth": 2.4, "zorder": 3, "marker": "o", "label": "best"}
        elif trial in paper:
            style = {"color": "#D55E00", "linewidth": 2.0, "zorder": 2, "marker": "*", "label": "paper (0.03, 1)"}
        axes.plot(rows["epoch"], scale * rows[metric], **style)
    axes.set(xlabel="epoch  (0: random initialisation)", ylabel=NAMES[metric], title="Learning curves")
    if best or paper:
        axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.25)
