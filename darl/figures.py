"""Pictures of a sweep: each takes frames and axes, and reads no files.

Colour-blind safe: probes by lightness (cividis), kinds of points by shape as well.
"""

import pandas as pd
from matplotlib.axes import Axes
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
    beta = trials[trials["noise"] == "beta"]
    finished, stopped = (beta[beta["status"] == status] for status in ("finished", "stopped"))
    axes.scatter(
        stopped["noise_a"], stopped["noise_b"], s=22, facecolors="none", edgecolors="0.45", label="stopped early"
    )
    known = pd.Series(False, index=finished.index)
    shown = None
    for name, (a, b, marker) in KNOWN.items():
        at = (finished["noise_a"] - a).abs().lt(1e-6 * a) & (finished["noise_b"] - b).abs().lt(1e-6 * b)
        known |= at
        shown = _points(axes, finished[at], metric, finished, marker, name, 190 if marker == "*" else 90) or shown
    shown = _points(axes, finished[~known], metric, finished, "o", "finished", 90) or shown
    axes.set(xscale="log", yscale="log", xlabel="a  (small: much noise)", ylabel="b", title="Trials over Beta(a, b)")
    if shown is not None:
        axes.figure.colorbar(shown, ax=axes, label=NAMES[metric])
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    axes.grid(alpha=0.25)


def draw_curves(trials: pd.DataFrame, curves: pd.DataFrame, axes: Axes, metric: str = "probe_top1") -> None:
    """The metric over epochs: the best trial and the paper's in colour, all others grey."""
    scale = 1 if metric == "val_loss" else 100
    finished = trials[trials["status"] == "finished"].sort_values(metric, ascending=metric == "val_loss")
    best = None if finished.empty else finished["trial_id"].iloc[0]
    paper = trials[(trials["noise_a"] == KNOWN["paper (0.03, 1)"][0]) & (trials["noise_b"] == 1.0)]["trial_id"].tolist()
    for trial, rows in curves.sort_values("epoch").groupby("trial_id"):
        style = {"color": "0.75", "linewidth": 1.0, "zorder": 1}
        if trial == best:
            style = {"color": "#0072B2", "linewidth": 2.4, "zorder": 3, "marker": "o", "label": "best"}
        elif trial in paper:
            style = {"color": "#D55E00", "linewidth": 2.0, "zorder": 2, "marker": "*", "label": "paper (0.03, 1)"}
        axes.plot(rows["epoch"], scale * rows[metric], **style)
    axes.set(xlabel="epoch  (0: random initialisation)", ylabel=NAMES[metric], title="Learning curves")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.25)


def _points(
    axes: Axes, rows: pd.DataFrame, metric: str, scale: pd.DataFrame, marker: str, label: str, size: int
) -> "object | None":
    if rows.empty:
        return None
    factor = 1 if metric == "val_loss" else 100
    return axes.scatter(
        rows["noise_a"], rows["noise_b"], c=factor * rows[metric], cmap="cividis", marker=marker, s=size, label=label,
        vmin=factor * scale[metric].min(), vmax=factor * scale[metric].max(), edgecolors="black", linewidths=0.7,
    )  # fmt: skip
