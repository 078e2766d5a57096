"""The map of Beta schedules: trials and a fitted surface over (a, b) in log axes, and the surface's uncertainty."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from darl.metrics import METRICS, Metric
from darl.model.noise import PAPER, Beta
from darl.report.adapted import on_adapted, places
from darl.report.figures.cells import finished
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import KNOWN, looks
from darl.report.figures.style import INK, VALUES, VERMILLION, Look, new_figure, plain_log
from darl.report.figures.surface import LEAST, Surface, fit_surface
from darl.sweep.wording import several

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_adapted", "draw_map", "draw_uncertainty"]

NAME: str = "map"

_POINT = ["noise_a", "noise_b"]

_MANY = 20
"""Number of trials from which the colour scale leaves out the worst tenth."""


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure; None unless a and b both vary. Of a search, it shows trials on its own seed: a race has few points.

    A few points make no map, except at the beginning of a search of Beta schedules alone.
    """
    beta, explored = findings.trials["noise"] == "beta", findings.sweep.explored_seeds
    adapted = places(findings)
    alone = bool((beta | findings.trials["cell"].isin([*adapted])).all())
    fixed = bool(findings.sweep.fixed_cells)
    trials = findings.trials.loc[beta & findings.trials["seed"].isin(explored)]
    few = len(trials[_POINT].drop_duplicates()) < LEAST and (fixed or not alone)
    if few or trials.empty or min(len(set(trials[name])) for name in _POINT) < 2:
        return None
    short = findings.table.loc[~findings.table["complete"], "cell"] if explored == findings.sweep.compared_seeds else []
    trials = trials.assign(lacking=trials["cell"].isin(short))
    done, measure = finished(findings), METRICS[findings.metric]
    done = trials.loc[trials.index.isin(done.index)]
    whole = done.loc[~done["lacking"]]
    surface = fit_surface(whole if len(whole) else done, findings.metric)
    figure = new_figure(7.2, 4.6)
    if surface is None or surface.flat:
        axes = figure.subplots()
    else:
        axes, side = figure.subplots(1, 2, width_ratios=(1.9, 1))
        draw_uncertainty(surface, done, side, findings.metric)
    draw_map(trials, axes, findings.metric, surface, missing=alone)
    draw_adapted(adapted, axes, looks(findings))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    title = f"{measure.name.capitalize()} over the noise schedule"
    alt = " ".join([_alt(done, trials, measure, surface), *(f"{note}." for note in on_adapted(findings))])
    return ReportFigure(NAME, title, alt, _caption(surface, trials, done, adapted), figure)


def draw_map(
    trials: pd.DataFrame, axes: Axes, metric: str, surface: Surface | None = None, *, missing: bool = True
) -> None:
    """Draw finished trials coloured by their mean, stopped ones hollow, failed ones as crosses, and a colour bar.

    trials: the column `lacking` marks those of cells without all their seeds, which are small and never the best.
    missing: whether schedules that readers know are also shown if they were not run.
    """
    measure = METRICS[metric]
    done = trials.loc[(trials["status"] == "finished") & trials[metric].notna()]
    points: Any = _points(done, metric)
    points["value"] = measure.unit.factor * points[metric]
    shades, extend = _shades(points["value"], measure)
    if surface is not None:
        levels = np.linspace(float(shades.vmin or 0), float(shades.vmax or 0), 17)
        mean = measure.unit.factor * surface.mean
        pale = 0.35 if surface.flat else 1.0  # no finding: the trials stand out
        filled = axes.contourf(surface.a, surface.b, mean, levels, cmap=VALUES, norm=shades, extend="both", alpha=pale)
        filled.set_edgecolor("face")
    _draw_unfinished(trials, axes)
    _draw_points(points, shades, axes, missing=missing)
    _draw_best(points, measure, axes)
    plain_log(axes)
    axes.set(xlabel="a   (smaller: more noise)", ylabel="b   (smaller: less noise)", title="Trials")
    if surface is not None:
        flat = f"No pattern is seen between the trials: their mean is {_level(surface, measure)}"
        axes.set_title(flat if surface.flat else "Trials, and the surface between them")
    bar = axes.figure.colorbar(ScalarMappable(shades, VALUES), ax=axes, location="bottom", aspect=35, extend=extend)
    bar.set_label(measure.axis)


def draw_adapted(adapted: Mapping[str, tuple[float, float, int]], axes: Axes, looks: Mapping[str, Look]) -> None:
    """Draw where schedules that follow the losses have ended: at the Beta with their mean and variance."""
    for name, (a, b, _) in adapted.items():
        mark: dict[str, Any] = {"marker": "P", "color": looks[name].color, "edgecolors": "#ffffff", "s": 110}
        axes.scatter([a], [b], label=f"{name} at its end ({a:.2g}, {b:.2g})", zorder=6, **mark)


def draw_uncertainty(surface: Surface, trials: pd.DataFrame, axes: Axes, metric: str) -> None:
    """Draw the 95 % half-width of the surface, dark where it is least certain, and trials as dots."""
    measure = METRICS[metric]
    half = measure.unit.factor * surface.half_width
    drawn = axes.contourf(surface.a, surface.b, half, 8, cmap="Greys", vmin=0)
    drawn.set_edgecolor("face")
    axes.scatter(*(trials[name] for name in _POINT), s=5, color=VERMILLION)
    bar = axes.figure.colorbar(drawn, ax=axes, location="bottom", aspect=20, ticks=MaxNLocator(4))
    bar.set_label(f"95 % half-width (± {measure.unit.difference_unit})")
    plain_log(axes)
    axes.set(title="How sure it is", xlabel="a")


def _draw_unfinished(trials: pd.DataFrame, axes: Axes) -> None:
    stopped, failed = (trials.loc[trials["status"] == status] for status in ("stopped", "failed"))
    if len(stopped):
        hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": INK, "s": 24, "linewidths": 1.0}
        axes.scatter(*(stopped[name] for name in _POINT), label="stopped early", **hollow)
    if len(failed):
        axes.scatter(*(failed[name] for name in _POINT), label="failed", marker="x", color=INK, s=24)


def _draw_points(points: pd.DataFrame, shades: Normalize, axes: Axes, *, missing: bool) -> None:
    style: dict[str, Any] = {"norm": shades, "cmap": VALUES, "edgecolors": "#000000", "linewidths": 0.8, "zorder": 4}
    rest = pd.Series(True, index=points.index)
    for name, (schedule, look) in KNOWN.items():
        if not isinstance(schedule, Beta):
            continue
        here = np.isclose(points["noise_a"], schedule.a) & np.isclose(points["noise_b"], schedule.b)
        size, label = (260 if look.marker == "*" else 90), f"{name} ({schedule.a:g}, {schedule.b:g})"
        if here.any():
            size = size / 3 if points.loc[here, "lacking"].all() else size
            _scatter(points.loc[here], axes, size, marker=look.marker, label=label, **style)
        elif missing:
            axes.scatter(
                [schedule.a], [schedule.b], s=size, marker=look.marker, facecolors="none", edgecolors=INK, zorder=4,
                label=f"{label}: not run",
            )  # fmt: skip
        rest &= ~here
    size, short = 50 if len(points) < 60 else 26, points["lacking"]
    _scatter(points.loc[rest & ~short], axes, size, marker="o", label="finished", **style)
    if any(rest & short):
        _scatter(points.loc[rest & short], axes, size / 3, marker="o", label="lacks seeds", **style)


def _scatter(points: pd.DataFrame, axes: Axes, size: float, *, marker: str, **style: Any) -> None:
    """Draw points with a white rim, visible on a surface of their own colour."""
    x, y = (points[name] for name in _POINT)
    axes.scatter(x, y, s=1.9 * size, marker=marker, color="#ffffff", linewidths=0, zorder=3)
    axes.scatter(x, y, c=points["value"], s=size, marker=marker, **style)


def _points(done: pd.DataFrame, metric: str) -> pd.DataFrame:
    """For each point, the metric's mean, and whether its cell is `lacking` seeds."""
    by: Any = done.assign(lacking=done.get("lacking", False)).groupby(_POINT, as_index=False)
    return by.agg({metric: "mean", "lacking": "all"})


def _draw_best(points: pd.DataFrame, measure: Metric, axes: Axes) -> None:
    points = points.loc[~points["lacking"]]
    if len(points) > 1:
        best = points.loc[[points["value"].idxmax() if measure.higher_is_better else points["value"].idxmin()]]
        ring: dict[str, Any] = {"facecolors": "none", "edgecolors": VERMILLION, "linewidths": 2.0, "zorder": 5}
        label = f"best: {measure.format_value(best[measure.column].iloc[0])}"
        axes.scatter(*(best[name] for name in _POINT), s=170, label=label, **ring)


def _shades(values: pd.Series, measure: Metric) -> tuple[Normalize, str]:
    """The range of the values (of many, without the worst tenth), and the end at which the colour bar is open."""
    if values.empty:
        return Normalize(0, 1), "neither"
    low, high, many = float(values.min()), float(values.max()), len(values) >= _MANY
    if many and measure.higher_is_better:
        low = float(values.quantile(0.1))
    elif many:
        high = float(values.quantile(0.9))
    cut = "min" if measure.higher_is_better else "max"
    return Normalize(low, high if high > low else low + 1), cut if many else "neither"


def _alt(done: pd.DataFrame, trials: pd.DataFrame, measure: Metric, surface: Surface | None) -> str:
    parts = [f"Map of {several(len(trials), 'trials')} over a and b of the Beta schedule; finished: {len(done)}."]
    points = _points(done, measure.column)
    points = points.loc[~points["lacking"]]
    ranked = points[measure.column].argsort()
    points = points.iloc[ranked[::-1] if measure.higher_is_better else ranked]
    if len(points):
        best, worst = points.iloc[0], points.iloc[-1]
        for which, point, end in ((f"Best {measure.name}", best, ";"), ("worst", worst, ".")):
            where = f"at a = {point['noise_a']:g}, b = {point['noise_b']:g}"
            parts += [f"{which} {measure.format_value(point[measure.column])} {where}{end}"]
    paper = points.loc[np.isclose(points["noise_a"], PAPER.a) & np.isclose(points["noise_b"], PAPER.b)]
    if len(paper):
        value = measure.format_value(paper[measure.column].iloc[0])
        parts += [f"The paper's point ({PAPER.a:g}, {PAPER.b:g}) has {value}."]
    if surface is not None and surface.flat:
        parts += [f"No pattern is seen between the trials: the surface is flat, {_level(surface, measure)}."]
    elif surface is not None:
        row, column = np.unravel_index(
            (np.nanargmax if measure.higher_is_better else np.nanargmin)(surface.mean), surface.mean.shape
        )
        parts += [f"The surface is best at about a = {surface.a[column]:.2g}, b = {surface.b[row]:.2g}, with"]
        parts += [f"{_level(surface, measure, int(row), int(column))}."]
    return " ".join(parts)


def _level(surface: Surface, measure: Metric, row: int = 0, column: int = 0) -> str:
    half = measure.unit.factor * surface.half_width[row, column]
    return f"{measure.format_value(surface.mean[row, column])} ± {half:.2g} {measure.unit.difference_unit}"


def _caption(surface: Surface | None, trials: pd.DataFrame, done: pd.DataFrame, adapted: Collection[str]) -> str:
    others = [name for name in ("order", "position", "learning_rate", "objective") if len(set(trials[name])) > 1]
    also = f" The trials differ in {', '.join(others).replace('_', ' ')}, too, which is not shown." if others else ""
    if adapted:
        whose = f"{', '.join(adapted)} {'is' if len(adapted) == 1 else 'are'}"
        also = f" {whose} no Beta: shown is the Beta with the mean and variance of its end.{also}"
    if any(done["lacking"]):
        also = f" Small: cells that lack some of their seeds; they are never the best.{also}"
    if surface is None:
        return f"No surface is fitted: that takes finished trials at {LEAST} or more points that differ.{also}"
    if surface.flat:
        return (
            "A Gaussian process over log a and log b takes all differences between the finished trials for noise: the "
            f"surface is flat, at their mean with its 95 % half-width. More trials or seeds may show a pattern.{also}"
        )
    return (
        "The surface is a Gaussian process over log a and log b, fitted to these trials. A point whose colour "
        "differs from the ground around it differs from what its neighbours suggest: that is noise between trials. "
        f"Blank: too far from any trial to say. The half-width is the surface's, not a single trial's.{also}"
    )
