"""Accuracy over depth: the linear probe and kNN on the output of every block of one model."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from darl.evaluation.layers import Layer
from darl.metrics import KNN, METRICS, PROBE, Metric
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import LOOKS, MUTED, Look, applied, new_figure

__all__ = ["NAME", "draw_layers"]

NAME = "layers"


def draw_layers(layers: Sequence[Layer], pixels: Mapping[str, float]) -> ReportFigure:
    """The figure: a line per pooling, the last blocks side by side as separate marks, and raw pixels.

    pixels: accuracies of raw pixels by `Metric.pixels_column`; a missing one is not drawn.
    """
    with applied():
        figure = new_figure(7.2, 3.9)
        axes = figure.subplots(1, 2, sharey=True)
        for panel, metric in zip(axes, (PROBE, KNN), strict=True):
            _draw_panel(panel, layers, metric, pixels.get(metric.pixels_column))
        axes[0].set_ylabel("top-1 (%)")
        lines = {
            str(label): line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=3)
    chosen = next(layer.name for layer in layers if layer.chosen)
    caption = f"Bands and bars: 95 % intervals over the validation images. The linear probe chooses {chosen}."
    return ReportFigure(NAME, "Accuracy over depth", _alt(layers), caption, figure)


def _draw_panel(axes: Axes, layers: Sequence[Layer], metric: Metric, pixels: float | None) -> None:
    factor = metric.unit.factor
    depth = max(layer.block for layer in layers)
    poolings = dict.fromkeys(layer.readout for layer in layers)
    for number, (pooling, look) in enumerate(zip(poolings, LOOKS, strict=False)):
        own = [layer for layer in layers if layer.readout == pooling]
        _draw_pooling(axes, own, metric, look, shift=0.12 * number)
    if pixels is not None:
        axes.axhline(factor * pixels, color=MUTED, linewidth=1.2, dashes=(1.5, 2), label="raw pixels")
    ticks, names = list(range(1, depth + 1, 1 + depth // 13)), [layer.blocks for layer in layers if layer.blocks > 1]
    labels = [str(tick) for tick in ticks]
    if names:
        ticks, labels = [*ticks, depth + 1], [*labels, f"last {names[0]}"]
    axes.set_xticks(ticks, labels)
    axes.set_xlim(0.6, ticks[-1] + 0.5)
    axes.set(xlabel="block", title=metric.name)
    axes.grid(True)


def _draw_pooling(axes: Axes, layers: Sequence[Layer], metric: Metric, look: Look, shift: float) -> None:
    """The line over single blocks with its band, what the choice saw of it, and the last blocks side by side."""
    factor, pooling = metric.unit.factor, layers[0].readout
    single = [layer for layer in layers if layer.blocks == 1]
    x = [layer.block for layer in single]
    y = [factor * getattr(layer, metric.column) for layer in single]
    half = [factor * getattr(layer, metric.half_width) for layer in single]
    axes.plot(x, y, **look.line, label=pooling)
    low, high = zip(*((value - width, value + width) for value, width in zip(y, half, strict=True)), strict=True)
    axes.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0)
    if metric is PROBE:
        seen = [factor * layer.held_out_top1 for layer in single]
        axes.plot(x, seen, color=look.color, linewidth=1, dashes=(4, 2), label=f"{pooling}: ridge, held-out tenth")
    for layer in layers:
        if layer.blocks > 1:
            value, width = factor * getattr(layer, metric.column), factor * getattr(layer, metric.half_width)
            axes.errorbar(layer.block + 1 + shift, value, width, color=look.color, marker=look.marker, linestyle="none")


def _alt(layers: Sequence[Layer]) -> str:
    parts = ["Accuracy of linear probe and kNN by block."]
    for metric in (PROBE, KNN):
        best = max(layers, key=lambda layer: getattr(layer, metric.column))
        value = METRICS[metric.column].format_value(getattr(best, metric.column))
        parts.append(f"Best by {metric.name}: {best.name}, with {value}.")
    return " ".join(parts)
