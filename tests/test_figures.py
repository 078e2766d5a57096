"""Pictures are drawn from frames, and say what they show."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from PIL import Image

from darl.config import Experiment
from darl.figures import (
    Picture,
    denoising,
    enlarged,
    headings,
    intervals,
    landscape,
    learning,
    pictures,
    save,
    schedules,
    visits,
)
from darl.figures.cells import looks
from darl.figures.intervals import draw_differences, draw_means
from darl.figures.landscape import draw_map
from darl.figures.learning import draw_cells, draw_trials, reports
from darl.figures.matrix import draw_matrix, matrix
from darl.figures.quantities import quantity
from darl.figures.schedules import draw_distributions, shares
from darl.figures.style import DARK, LOOKS, Look, applied, new_figure
from darl.figures.surface import fit_surface
from darl.figures.visits import draw_order
from darl.noise import Beta, Linear
from darl.orders import Order
from darl.report import Findings, find
from darl.results import curves_schema, trials_schema
from darl.space import LogUniform
from darl.sweep import Design, Search
from tests.trials import ORDERS, PAPER, SEARCH, THREE, Row, cell, lost, row

GAMMAS = {name: 0.2 for name in trials_schema().names if name.startswith("val_loss_gamma")}


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """As it is read from a folder: with every column."""
    return pd.DataFrame(list(rows)).reindex(columns=trials_schema().names)


def orders(*cells: list[Row], sweep: Design = ORDERS) -> Findings:
    (found,) = find(sweep, table([one for rows in cells for one in rows]))
    return found


def curves(trials: pd.DataFrame, epochs: Sequence[int] = (0, 2, 5)) -> pd.DataFrame:
    """Straight to the final probe; a trial that was stopped has its last report after epoch 2."""
    rows = [
        {"trial_id": one["trial_id"], "attempt": 0, "epoch": epoch, "knn_top1": 0.1 * epoch}
        | {"probe_top1": 0.3 + epoch / 5 * ((0.5 if pd.isna(one["probe_top1"]) else one["probe_top1"]) - 0.3)}
        for one in trials.to_dict("records")
        for epoch in epochs
        if one["status"] == "finished" or epoch <= 2
    ]
    return pd.DataFrame(rows).reindex(columns=curves_schema().names)


def by_noise(a: float, b: float) -> float:
    """Best at a = 0.1, b = 1."""
    return 0.9 - 0.01 * np.log10(a / 0.1) ** 2 - 0.02 * np.log10(b) ** 2


def search_rows(side: int = 5, **values: Any) -> list[Row]:
    """The paper's point, and a grid of side² places."""
    places = [(a, b) for a in np.geomspace(0.01, 4, side) for b in np.geomspace(0.1, 8, side)]
    points = [PAPER, *({"noise.a": float(f"{a:.4g}"), "noise.b": float(f"{b:.4g}")} for a, b in places)]
    return [row(SEARCH.experiment(one), by_noise(*one.values()), **{**GAMMAS, **values}) for one in points]


PAINTERS = {
    "cells": intervals, "map": landscape, "schedules": schedules, "orders": visits, "enlarged": enlarged,
    "learning": learning, "denoising": denoising,
}  # fmt: skip


def painted(name: str, found: Findings) -> Picture:
    """One of the pictures."""
    with applied():
        picture = PAINTERS[name].paint(found, curves(found.trials))
    assert picture is not None
    assert picture.name == name
    return picture


def axes() -> Axes:
    return new_figure(4, 3).subplots()


class TestSurface:
    @staticmethod
    def points(places: Sequence[tuple[float, float]]) -> pd.DataFrame:
        return pd.DataFrame([{"noise_a": a, "noise_b": b, "probe_top1": by_noise(a, b)} for a, b in places])

    def test_it_finds_a_known_peak(self) -> None:
        surface = fit_surface(table(search_rows()), "probe_top1")
        assert surface is not None
        best_b, best_a = np.unravel_index(np.nanargmax(surface.mean), surface.mean.shape)
        assert surface.a[best_a] == pytest.approx(0.1, rel=0.4)
        assert surface.b[best_b] == pytest.approx(1, rel=0.4)
        assert np.nanmax(surface.mean) == pytest.approx(0.9, abs=0.002)

    def test_it_knows_least_where_no_trial_is(self) -> None:
        left = [(a, b) for a in (0.01, 0.02, 0.04, 0.08) for b in (0.1, 1.0, 10.0)]
        surface = fit_surface(self.points([*left, (10.0, 10.0)]), "probe_top1")
        assert surface is not None
        near = surface.half_width[:, surface.a < 0.08]
        assert np.nanmax(near) < np.nan_to_num(surface.half_width[:20, -20:], nan=np.inf).min()

    def test_a_gap_is_left_blank(self) -> None:
        values = np.random.default_rng(0).uniform(size=12)
        corners = [(a * 10.0**k, b * 10.0**k) for k in (-4, 4) for a in (1, 1.5, 2) for b in (1, 1.5)]
        trials = pd.DataFrame(corners, columns=["noise_a", "noise_b"]).assign(probe_top1=values)
        surface = fit_surface(trials, "probe_top1")
        assert surface is None or np.isnan(surface.mean[:20, -20:]).all()

    @pytest.mark.parametrize(
        "places",
        [
            [(0.1, 1), (1, 0.1), (0.2, 2), (3, 1)],
            [(0.1, 1.0), (0.2, 1.0), (0.4, 1.0), (0.8, 1.0), (1.6, 1.0), (3.2, 1.0)],
            [(0.1, 1), (1, 0.1), (0.2, 2), (3, 1)] * 3,
        ],
        ids=["four", "a line", "four places thrice"],
    )
    def test_it_does_not_promise_too_much(self, places: list[tuple[float, float]]) -> None:
        assert fit_surface(self.points(places), "probe_top1") is None


class TestMap:
    def test_axes_points_and_marks(self) -> None:
        rows = search_rows(3)
        rows[8] |= {"status": "stopped", "probe_top1": None}
        rows[9] |= {"status": "failed", "probe_top1": None}
        map_of = axes()
        draw_map(table(rows), map_of, "probe_top1")
        assert (map_of.get_xscale(), map_of.get_yscale()) == ("log", "log")
        assert map_of.get_xlabel().startswith("a ")
        assert map_of.get_ylabel().startswith("b ")
        told = {shown.get_label(): len(np.asarray(shown.get_offsets())) for shown in map_of.collections}
        assert told["stopped early"] == told["failed"] == told["paper (0.03, 1)"] == 1
        assert told["finished"] == 7
        assert {"uniform (1, 1): not run", "cosine (0.5, 0.5): not run", "best: 89.9 %"} <= set(told)
        assert map_of.figure.axes[1].get_xlabel() == "linear probe, top-1 (%)"

    def test_best_means_better(self) -> None:
        trials = table(search_rows(3)).assign(val_loss=lambda frame: 1 - frame["probe_top1"])
        for metric in ("probe_top1", "val_loss"):
            map_of = axes()
            draw_map(trials, map_of, metric)
            (ring,) = [shown for shown in map_of.collections if str(shown.get_label()).startswith("best")]
            best = trials.loc[trials["probe_top1"].idxmax()]
            assert np.asarray(ring.get_offsets()).tolist() == [[best["noise_a"], best["noise_b"]]]

    @pytest.mark.parametrize(("side", "surface"), [(1, False), (5, True), (11, True)], ids=["2", "26", "122"])
    def test_any_number_of_trials(self, side: int, surface: bool) -> None:
        (found,) = find(SEARCH, table(search_rows(side)))
        shown = painted("map", found)
        assert any(one.get_title(loc="left") == "How sure it is" for one in shown.figure.axes) is surface
        assert ("Gaussian process" in shown.caption) is surface
        assert ("No surface" in shown.caption) is not surface
        assert "best at about" in shown.alt or not surface

    def test_fresh_seeds_are_not_mixed_in(self) -> None:
        fresh = [row(SEARCH.experiment(PAPER, 1), 0.1, **GAMMAS)]
        (found,) = find(SEARCH, table(search_rows(3) + fresh))
        assert "The paper's point (0.03, 1) has 89.7 %" in painted("map", found).alt


class TestSchedules:
    def test_shares_by_hand(self) -> None:
        below = [1e-3, 0.1, 0.9, 0.999, 1.0]
        paper = np.diff([0.0, *(limit**0.03 for limit in below)])
        np.testing.assert_allclose(shares(Beta(a=0.03, b=1.0)), paper, atol=1e-3)
        np.testing.assert_allclose(shares(Beta(a=1.0, b=1.0)), np.diff([0.0, *below]), atol=1e-3)
        assert shares(Linear()).sum() == pytest.approx(1)

    def test_distributions_are_over_the_logit(self) -> None:
        drawn = axes()
        draw_distributions({"uniform": (Beta(a=1.0, b=1.0), LOOKS[0]), "paper": (Beta(), LOOKS[1])}, drawn)
        assert drawn.get_xscale() == "logit"
        for line, share in zip(drawn.lines, (50.0, 100 * 0.5**0.03), strict=True):
            x, y = (np.asarray(values) for values in line.get_data())
            assert np.interp(0.5, x, y) == pytest.approx(share, abs=0.1)
            assert y[np.argmax(x > 1e-6)] < 67  # the left edge is reached: no curve starts in mid air

    def test_the_best_is_named_where_it_has_no_name(self) -> None:
        (found,) = find(SEARCH, table(search_rows()))
        told = painted("schedules", found).alt
        assert "best: Beta(" in told
        assert "paper (baseline) 93 %" in told


class TestIntervals:
    def test_rows_lines_and_dots(self) -> None:
        found = orders(*THREE)
        single = found.trials[["cell", "seed", "probe_top1"]]
        means, apart = new_figure(7, 3).subplots(1, 2)
        draw_means(found.table, single, means, "probe_top1", looks(found))
        draw_differences(found.table, apart, "probe_top1", looks(found))
        assert [text.get_text() for text in means.get_yticklabels()] == ["hilbert", "raster", "spiral"]
        assert means.get_ylim()[0] > means.get_ylim()[1]  # the first above
        assert sum(len(np.asarray(dots.get_offsets())) for dots in means.collections) == 9
        upright = [line.get_xdata()[0] for line in means.lines if line.get_linestyle() == "--"]
        assert upright == pytest.approx([61.0])
        marks = [line.get_xdata()[0] for line in apart.lines if len(np.asarray(line.get_xdata())) == 1]
        assert marks == pytest.approx([2.0, -9.0])
        spans = [np.ptp(line.get_xdata()) for line in apart.lines if line.get_linewidth() == pytest.approx(2.4)]
        assert spans[0] == pytest.approx(2 * 4.302653 / 3**0.5, rel=1e-4)
        assert "points" in apart.get_xlabel()

    def test_an_incomplete_cell_is_hollow_and_says_so(self) -> None:
        found = orders(THREE[0], THREE[1], cell("spiral", 0.7, 0.71))
        shown = painted("cells", found)
        labels = [text.get_text() for text in shown.figure.axes[0].get_yticklabels()]
        assert labels[-1].startswith("spiral\n2 of 3")
        hollow = [line for line in shown.figure.axes[0].lines if line.get_markerfacecolor() == "none"]
        assert [line.get_xdata()[0] for line in hollow] == pytest.approx([70.5])
        assert "Hollow" in shown.caption

    def test_one_seed_has_no_intervals(self) -> None:
        found = orders(cell("raster", 0.6), cell("hilbert", 0.7), sweep=replace(ORDERS, seeds=1))
        shown = painted("cells", found)
        assert "no intervals" in shown.caption
        assert all(np.isfinite(np.asarray(line.get_xdata())).all() for one in shown.figure.axes for line in one.lines)

    def test_the_seed_that_chose_is_not_shown(self) -> None:
        race = [row(SEARCH.experiment(point, repeat), 0.8 + 0.01 * repeat, **GAMMAS)
                for point in (PAPER, {"noise.a": 0.2, "noise.b": 0.8944}) for repeat in (1, 2, 3)]  # fmt: skip
        (found,) = find(SEARCH, table(search_rows() + race))
        shown = painted("cells", found)
        assert "fresh seeds" in shown.caption
        assert sum(len(np.asarray(dots.get_offsets())) for dots in shown.figure.axes[0].collections) == 6


class TestLooks:
    def test_a_variant_looks_the_same_in_every_picture(self) -> None:
        found = orders(*(cell(name, 0.5, 0.6, 0.7, **GAMMAS) for name in ORDERS.cells))
        raster = looks(found)["raster"]
        lines = [
            line for name in ("learning", "denoising") for one in painted(name, found).figure.axes for line in one.lines
        ]
        seen = [to_hex(str(line.get_color())) for line in lines if line.get_label() == "raster"]
        assert len(seen) >= 2
        assert set(seen) == {raster.color}
        assert to_hex(painted("orders", found).figure.axes[0].spines["left"].get_edgecolor()) == raster.color
        marks = [line for line in painted("cells", found).figure.axes[0].lines if line.get_marker() == raster.marker]
        assert {line.get_markeredgecolor() for line in marks} == {raster.color}

    def test_it_looks_the_same_in_another_sweep(self) -> None:
        cells = {name: {"order": name} for name in ("spiral", "random", "raster", "hilbert")}
        other = replace(ORDERS, cells=cells)
        found = orders(*(cell(name, 0.5, sweep=other) for name in cells), sweep=other)
        own = looks(orders(*THREE))
        assert {name: looks(found)[name] for name in own} == own

    def test_every_order_has_a_colour_of_its_own(self) -> None:
        every = replace(ORDERS, cells={name: {"order": name} for name in Order.kinds()})
        found = orders(*(cell(name, 0.5, sweep=every) for name in every.cells), sweep=every)
        assert len({look.color for look in looks(found).values()}) == len(Order.kinds())
        assert len({look.marker for look in looks(found).values()}) == len(Order.kinds())

    def test_masks_of_one_encoding_differ_in_dashes(self) -> None:
        cells = {f"{name} {causal}": {"position": name, "causal": causal}
                 for name in ("absent", "rope2d") for causal in (True, False)}  # fmt: skip
        design = replace(ORDERS, cells=cells, baseline=None)
        found = looks(orders(*(cell(name, 0.5, sweep=design) for name in cells), sweep=design))
        one, other = found["rope2d True"], found["rope2d False"]
        assert (one.color, one.marker) == (other.color, other.marker)
        assert one.dashes != other.dashes

    def test_the_paper_has_its_star_in_a_search_and_in_a_design(self) -> None:
        design = replace(ORDERS, cells={"paper": PAPER, "other": {"noise.a": 2.0}}, baseline="paper")
        designed = looks(orders(*(cell(name, 0.5, sweep=design) for name in design.cells), sweep=design))
        (found,) = find(SEARCH, table(search_rows(3)))
        assert looks(found)["paper"] == designed["paper"]
        assert designed["paper"].marker == "*"

    def test_ink_is_legible_on_both_grounds(self) -> None:
        def luminance(color: str) -> float:
            parts = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        def contrast(one: str, other: str) -> float:
            low, high = sorted((luminance(one), luminance(other)))
            return (high + 0.05) / (low + 0.05)

        (ink, muted, _, ground), dark = DARK, list(DARK.values())
        assert contrast(ink, ground) > 7
        assert contrast(dark[0], dark[3]) > 7
        assert contrast(muted, ground) > 4.5
        assert contrast(dark[1], dark[3]) > 4.5
        assert all(contrast(look.color, dark[3]) > 3 for look in LOOKS if look.color != ink)
        assert all(contrast(look.color, ground) > 2 for look in LOOKS)


class TestLearning:
    def test_a_stopped_trial_ends_with_a_cross_at_its_rung(self) -> None:
        rows = search_rows(2)
        rows[2] |= {"status": "stopped", "probe_top1": None}
        (found,) = find(SEARCH, table(rows))
        drawn, reported = axes(), reports(found.trials, curves(found.trials))
        draw_trials(reported, drawn, "probe_top1", {"paper": ("the paper's", Look("#d55e00", "*"))})
        (cross,) = [line for line in drawn.lines if line.get_marker() == "x"]
        assert cross.get_xdata()[0] == 2
        (own,) = [line for line in drawn.lines if line.get_label() == "the paper's"]
        assert (own.get_color(), own.get_ydata()[-1]) == ("#d55e00", pytest.approx(89.73, abs=0.01))

    def test_no_cross_where_the_metric_is_only_not_measured(self) -> None:
        rows = search_rows(2)
        rows[2] |= {"status": "stopped", "probe_top1": None}
        (found,) = find(SEARCH, table(rows))
        reported = reports(found.trials, curves(found.trials))
        reported.loc[(reported["epoch"] == 2) & (reported["status"] == "stopped"), "probe_top1"] = None
        drawn = axes()
        draw_trials(reported, drawn, "probe_top1", {})
        assert not [line for line in drawn.lines if line.get_marker() == "x"]

    def test_rungs_stand_where_they_decide(self) -> None:
        (found,) = find(SEARCH, table(search_rows(2)))
        probe, cheap = painted("learning", found).figure.axes
        at = [[line.get_xdata()[0] for line in one.lines if line.get_zorder() == 0] for one in (probe, cheap)]
        assert SEARCH.rungs == {1: "knn_top1", 3: "probe_top1"}
        assert at == [[3], [1]]
        assert [one.get_title(loc="left") for one in (probe, cheap)] == ["linear probe, top-1 (%)", "kNN, top-1 (%)"]

    def test_a_cell_is_the_mean_over_its_seeds(self) -> None:
        found = orders(*THREE)
        drawn = axes()
        draw_cells(reports(found.trials, curves(found.trials)), drawn, "probe_top1", looks(found))
        ends = {line.get_label(): line.get_ydata()[-1] for line in drawn.lines}
        assert ends == pytest.approx({"raster": 61.0, "hilbert": 63.0, "spiral": 52.0})

    def test_of_each_epoch_the_last_attempt_counts(self) -> None:
        found = orders(cell("raster", 0.6))
        first = curves(found.trials)
        again = first[first["epoch"] == 5].assign(attempt=1, probe_top1=0.9)
        reported = reports(found.trials, pd.concat([again, first]))
        assert reported["epoch"].tolist() == [0, 2, 5]
        assert reported["probe_top1"].tolist()[-1] == 0.9


class TestDenoising:
    def test_losses_by_gamma(self) -> None:
        steps = dict(zip(GAMMAS, (0.6, 0.5, 0.4, 0.3, 0.2, 0.1), strict=True))
        found = orders(cell("raster", 0.6, **steps), cell("hilbert", 0.7, **GAMMAS))
        shown = painted("denoising", found)
        (own,) = [line for line in shown.figure.axes[0].lines if line.get_label() == "raster"]
        assert list(own.get_xdata()) == [0.0, 0.1, 0.3, 0.5, 0.7, 0.9]
        assert list(own.get_ydata()) == pytest.approx(list(steps.values()))
        assert "The baseline, raster: 0.6 at 0 and 0.1 at 0.9" in shown.alt

    def test_losses_of_other_targets_are_not_drawn_together(self) -> None:
        cells = {str(on): {"objective.normalize_target": on} for on in (True, False)}
        design = replace(ORDERS, cells=cells, baseline=None)
        found = orders(*(cell(name, 0.5, sweep=design, **GAMMAS) for name in cells), sweep=design)
        assert "denoising" not in [picture.name for picture in pictures([found], curves(found.trials))]


class TestOrders:
    @pytest.mark.parametrize("kind", Order.kinds())
    @pytest.mark.parametrize("grid", [(4, 4), (3, 5), (14, 14)])
    def test_the_path_is_the_order(self, kind: str, grid: tuple[int, int]) -> None:
        order, drawn = Order.parse(kind), axes()
        draw_order(order, grid, drawn)
        path = order.permutation(*grid).numpy()
        line = max(drawn.lines, key=lambda one: one.get_zorder() if len(np.asarray(one.get_xdata())) > 1 else -1)
        visited = np.asarray(line.get_ydata()) * grid[1] + np.asarray(line.get_xdata())
        assert visited.tolist() == path.tolist()
        start, end = (next(line for line in drawn.lines if line.get_marker() == mark) for mark in "os")
        assert start.get_ydata()[0] * grid[1] + start.get_xdata()[0] == path[0]
        assert end.get_ydata()[0] * grid[1] + end.get_xdata()[0] == path[-1]
        shaded = np.asarray(drawn.images[0].get_array()).ravel()
        assert np.argsort(shaded).tolist() == path.tolist()


def transfer() -> tuple[Design, pd.DataFrame]:
    """Two schedules on two data sets."""
    schedules = {"paper": PAPER, "best of digits": {"noise.a": 0.2, "noise.b": 1.5}}
    sets = ("digits:0-4", "digits:5-9")
    cells = {f"{name} on {data}": {"data": data, **point} for name, point in schedules.items() for data in sets}
    groups = {label: label.rpartition(" on ")[2] for label in cells}
    baselines = {data: f"paper on {data}" for data in sets}
    design = Design(name="t", question="?", base=Experiment(epochs=5), cells=cells, groups=groups, baselines=baselines)
    rows = [cell(label, 0.5 + 0.1 * place, sweep=design) for place, label in enumerate(cells)]
    return design, table([one for some in rows for one in some])


class TestMatrix:
    def test_choices_by_group(self) -> None:
        design, trials = transfer()
        found = matrix(design, pd.concat([one.table for one in find(design, trials)]))
        assert found.index.tolist() == ["paper", "best of digits"]
        assert found.columns.tolist() == ["digits:0-4", "digits:5-9"]
        assert found.to_numpy().tolist() == pytest.approx(np.array([[0.5, 0.6], [0.7, 0.8]]))

    @pytest.mark.parametrize(("metric", "best"), [("probe_top1", 1), ("val_loss", 0)])
    def test_values_and_the_best(self, metric: str, best: int) -> None:
        values = pd.DataFrame({"x": [0.5, 0.7], "y": [0.6, np.nan]}, index=["one", "two"])
        drawn = axes()
        draw_matrix(values, drawn, quantity(metric))
        shown = [text.get_text() for text in drawn.texts]
        assert shown == (["50.0 %", "60.0 %", "70.0 %", ""] if metric == "probe_top1" else ["0.5", "0.6", "0.7", ""])
        rows = [round(frame.get_y() + 0.44) for frame in drawn.patches if frame.get_x() < 0]
        assert rows == [best]

    def test_several_groups_have_pictures_of_their_own(self) -> None:
        design, trials = transfer()
        found = find(design, trials)
        drawn = pictures(found, curves(trials))
        names = [picture.name for picture in drawn]
        assert names[0] == "matrix"
        assert {"cells-digits-0-4", "cells-digits-5-9"} <= set(names)
        assert len(set(names)) == len(names)
        assert headings(found) == ["digits:0-4", "digits:5-9"]
        assert {picture.heading for picture in drawn} == {"", *headings(found)}


class TestGallery:
    ORDERED = ("cells", "orders", "learning", "denoising")
    SEARCHED = ("map", "schedules", "importance", "learning", "denoising")

    def test_what_varies_decides(self) -> None:
        found = orders(*(cell(name, 0.5, 0.6, 0.7, **GAMMAS) for name in ORDERS.cells))
        assert tuple(one.name for one in pictures([found], curves(found.trials))) == self.ORDERED
        (found,) = find(SEARCH, table(search_rows()))
        assert tuple(one.name for one in pictures([found], curves(found.trials))) == self.SEARCHED
        renamed = replace(found, sweep=replace(SEARCH, name="patch_order"))
        assert tuple(one.name for one in pictures([renamed], curves(found.trials))) == self.SEARCHED

    def test_a_grid_has_a_map(self) -> None:
        space = [(a, b) for a in (0.03, 0.3, 3.0) for b in (0.1, 1.0)]
        grid = replace(ORDERS, cells={f"{a}, {b}": {"noise.a": a, "noise.b": b} for a, b in space}, baseline=None)
        found = orders(*(cell(f"{a}, {b}", by_noise(a, b), sweep=grid, **GAMMAS) for a, b in space), sweep=grid)
        assert {"cells", "map", "schedules"} <= {one.name for one in pictures([found], curves(found.trials))}

    def test_enlarged_images(self) -> None:
        found = orders(
            cell("raster", 0.6, probe_top1_enlarged=0.5), cell("hilbert", 0.7, probe_top1_enlarged=0.4)
        )  # fmt: skip
        alt = painted("enlarged", found).alt
        assert alt == "Linear probe at 8 and at 12 pixels: raster 60.0 to 50.0 %; hilbert 70.0 to 40.0 %."

    @pytest.mark.parametrize("metric", ["probe_top1", "knn_top1", "val_loss"])
    def test_every_picture_tells_numbers_and_units(self, metric: str) -> None:
        searched, ordered = table(search_rows()), table([one for rows in THREE for one in rows])
        for sweep, trials in ((SEARCH, searched), (ORDERS, ordered)):
            probe = trials["probe_top1"].astype(float)
            found = find(sweep, trials.assign(knn_top1=probe / 2, val_loss=1 - probe), metric)
            for picture in pictures(found, curves(trials)):
                assert any(character.isdigit() for character in picture.alt), picture.name
                assert picture.caption.endswith(".")
                assert picture.title

    def test_little_is_drawn_of_little(self) -> None:
        one = orders(cell("raster", 0.6))
        assert {picture.name for picture in pictures([one], curves(one.trials))} == {"learning"}
        failed = orders(lost("raster", 0, "boom"))
        assert pictures([failed], curves(failed.trials).head(0)) == []
        (stopped,) = find(SEARCH, table(search_rows(3, status="stopped")))
        assert {one.name for one in pictures([stopped], curves(stopped.trials))} == {"map", "schedules", "learning"}
        (empty,) = find(SEARCH, table(search_rows()).head(0))
        assert pictures([empty], curves(failed.trials).head(0)) == []

    def test_the_style_is_left_as_it_was(self) -> None:
        before = dict(matplotlib.rcParams)
        found = orders(*THREE)
        pictures([found], curves(found.trials))
        assert dict(matplotlib.rcParams) == before


class TestFiles:
    def test_each_picture_is_a_file_on_a_light_ground(self, tmp_path: Path) -> None:
        found = orders(*THREE)
        drawn = [painted(name, found) for name in ("cells", "orders")]
        paths = save(drawn, tmp_path / "new" / "folder")
        assert [path.name for path in paths] == [f"{picture.name}.png" for picture in drawn]
        with Image.open(paths[0]) as image:
            assert min(image.size) > 300
            assert image.convert("RGBA").getpixel((0, 0)) == (254, 254, 253, 255)

    def test_an_svg_follows_the_reader(self) -> None:
        found = orders(*THREE)
        picture = painted("cells", found)
        drawn = picture.svg()
        assert drawn == painted("cells", found).svg()  # the same findings give the same file
        head, _, body = drawn.partition("</style>")
        assert "prefers-color-scheme:dark" in head
        assert all(dark in head for dark in DARK.values())
        assert not [color for color in DARK if color in body]
        assert "var(--n0)" in body
        assert "http-equiv" not in body
        assert picture.address().startswith("data:image/svg+xml;base64,")


def test_a_space_that_is_not_of_noise_has_no_map() -> None:
    space = {"learning_rate": LogUniform(low=1e-4, high=1e-2)}
    search = Search(name="s", question="?", base=Experiment(epochs=5), space=space)
    rows = [row(search.experiment({"learning_rate": rate}), 0.5 + rate, **GAMMAS) for rate in (1e-3, 2e-3, 3e-3)]
    (found,) = find(search, table(rows))
    assert {one.name for one in pictures([found], curves(found.trials))} == {"learning", "denoising"}
