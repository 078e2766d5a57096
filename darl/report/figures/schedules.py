"""Noise schedules: the share of patches by the signal that is left in them.

The density of Beta(0.03, 1) is infinite at 0, others are infinite at both ends; densities cannot be compared by eye
there. So the figure shows cumulative distributions over gamma in logit (the log signal-to-noise ratio), and shares of
patches.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from darl.model.noise import Beta, Noise
from darl.report.adapted import learned_schedules
from darl.report.figures.cells import roles
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import KNOWN, known_look, looks
from darl.report.figures.style import MUTED, Look, new_figure

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["BANDS", "NAME", "draw", "draw_distributions", "draw_shares", "shares"]

NAME: str = "schedules"

BANDS = {"pure noise": 1e-3, "mostly noise": 0.1, "half and half": 0.9, "mostly signal": 0.999, "clean": 1.0}
"""Names for the noisiness of a patch, and the largest gamma of each."""

_SHADES = ("#1d2733", "#4a5d73", "#8ba0b5", "#c3d0dc", "#f1f4f7")

_TICKS = (1e-6, 1e-4, 1e-2, 0.1, 0.5, 0.9, 0.99)


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure; None if schedules do not vary."""
    cells = findings.experiments
    if len({experiment.noise for experiment in cells.values()} - {None}) < 2:
        return None
    every, shown = looks(findings), dict[str, tuple[Noise, Look]]()
    learned = learned_schedules(findings)
    for cell, noise in learned.items():
        role = f" ({roles(findings)[cell]})" if cell in roles(findings) else ""
        shown[f"{cell}{role},\nas it ended"] = (noise, every[cell])
    for cell, role in roles(findings).items():
        noise = cells[cell].noise
        if noise is not None and known_look(noise) is None and cell not in learned:
            shown[f"{role}:\n{_title(noise)}"] = (noise, every[cell])
    shown |= {_known_name(name, findings): known for name, known in KNOWN.items()}
    figure = new_figure(7.2, 5.6)
    top, bottom = figure.subplots(2, 1, height_ratios=(1.25, 1))
    draw_distributions(shown, top)
    draw_shares({name: noise for name, (noise, _) in shown.items()}, bottom)
    caption = (
        "Above: how many patches have at most this signal fraction gamma, which is 1 for a clean patch and 0 for pure "
        "noise; a schedule whose curve starts high leaves most patches nearly without signal. Below: the same as "
        f"shares. Shown for comparison, whether run or not: {', '.join(KNOWN)}."
    )
    return ReportFigure(NAME, "What the schedules do to a patch", _alt(shown), caption, figure)


def _title(noise: Noise) -> str:
    return f"Beta({noise.a:g}, {noise.b:g})" if isinstance(noise, Beta) else str(noise)


def _known_name(name: str, findings: "Findings") -> str:
    """The schedule's name with its role: `paper (best)`."""
    cells = findings.experiments
    own = [role for cell, role in roles(findings).items() if known_look(cells[cell].noise) == KNOWN[name][1]]
    return f"{name} ({own[0].replace(' and the', ',')})" if own else name


def draw_distributions(schedules: Mapping[str, tuple[Noise, Look]], axes: Axes) -> None:
    """Draw the share of patches with at most a signal fraction, over the fraction's logit."""
    for name, (noise, look) in schedules.items():
        gamma, probability = _distribution(noise)
        axes.plot(gamma.clip(1e-12, 1 - 1e-12), 100 * probability, color=look.color, label=name)
    axes.set_xscale("logit")
    axes.set_xticks(list(_TICKS), [f"{tick:f}".rstrip("0") for tick in _TICKS])
    axes.set_xticks([], minor=True)
    axes.set(xlim=(_TICKS[0], 1 - 1e-4), ylim=(0, 102), ylabel="patches with at most\nthis gamma (%)")
    axes.set_xlabel("signal fraction gamma, in logit   (0: pure noise, 1: clean)")
    axes.grid(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_shares(schedules: Mapping[str, Noise], axes: Axes) -> None:
    """Draw stacked bars with the share of patches in each of `BANDS`."""
    names = list(schedules)
    table = 100 * np.array([shares(noise) for noise in schedules.values()])
    left = np.zeros(len(names))
    for index, text in enumerate(_band_texts()):
        shade, own = _SHADES[index], table[:, index]
        bars = axes.barh(names, own, left=left, color=shade, edgecolor=MUTED, linewidth=0.6, label=text)
        texts = [f"{share:.0f}" if share >= 6 else "" for share in own]
        axes.bar_label(bars, texts, label_type="center", color="#ffffff" if index < 2 else "#000000", fontsize=9)
        left += own
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="share of patches (%)")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def shares(noise: Noise) -> NDArray[np.float64]:
    """The probability of each of `BANDS`."""
    gamma, probability = _distribution(noise)
    below = np.interp([*BANDS.values()][:-1], gamma, probability, left=0.0, right=1.0)
    return np.diff([0.0, *below, 1.0])


def _distribution(noise: Noise) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of gamma and the probability of at most that value, dense at both ends."""
    low, high = torch.logspace(-7, -3, 400), 1 - torch.logspace(-3, -7, 400)
    probability = torch.cat([low, torch.linspace(1e-3, 0.999, 4000), high]).double()
    return noise.quantile(probability).numpy(), probability.numpy()


def _band_texts() -> list[str]:
    limits = [f"{limit:g}" for limit in BANDS.values()]
    first, *others = BANDS
    ranges = [f"{low} to {high}" for low, high in pairwise(limits)]
    return [f"{first} (< {limits[0]})", *(f"{name}\n({text})" for name, text in zip(others, ranges, strict=True))]


def _alt(schedules: Mapping[str, tuple[Noise, Look]]) -> str:
    noisy = [f"{name} {100 * shares(noise)[:2].sum():.0f} %" for name, (noise, _) in schedules.items()]
    text = ", ".join(noisy).replace("\n", " ")
    return f"Distribution of the signal fraction gamma. Share of patches with gamma below 0.1: {text}."
