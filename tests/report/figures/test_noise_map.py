"""The surface over the noise parameters, and its map."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from darl.report.figures.noise_map import draw_map
from darl.report.figures.surface import fit_surface
from darl.report.findings import find
from tests.report.example_trials import ORDERS, PAPER, SEARCH, cell, row
from tests.report.figures.example_figures import GAMMAS, axes, by_noise, drawn_figure, orders, search_rows, table


class TestSurface:
    @staticmethod
    def points(places: Sequence[tuple[float, float]]) -> pd.DataFrame:
        return pd.DataFrame([{"noise_a": a, "noise_b": b, "probe_top1": by_noise(a, b)} for a, b in places])

    def test_surface_finds_a_known_peak(self) -> None:
        surface = fit_surface(table(search_rows()), "probe_top1")
        assert surface is not None
        best_b, best_a = np.unravel_index(np.nanargmax(surface.mean), surface.mean.shape)
        assert surface.a[best_a] == pytest.approx(0.1, rel=0.4)
        assert surface.b[best_b] == pytest.approx(1, rel=0.4)
        assert np.nanmax(surface.mean) == pytest.approx(0.9, abs=0.002)

    def test_uncertainty_is_largest_far_from_trials(self) -> None:
        left = [(a, b) for a in (0.01, 0.02, 0.04, 0.08) for b in (0.1, 1.0, 10.0)]
        surface = fit_surface(self.points([*left, (10.0, 10.0)]), "probe_top1")
        assert surface is not None
        near = surface.half_width[:, surface.a < 0.08]
        assert np.nanmax(near) < np.nan_to_num(surface.half_width[:20, -20:], nan=np.inf).min()

    def test_a_gap_is_left_blank(self) -> None:
        near = [(a * 10.0**k, b * 10.0**k) for k in (-2, 2) for a in (1, 2, 4, 8) for b in (1, 2, 4, 8)]
        trials = pd.DataFrame(near, columns=["noise_a", "noise_b"])
        trials["probe_top1"] = np.cos(1.5 * np.log(trials[["noise_a", "noise_b"]])).prod(axis=1)  # in each corner
        surface = fit_surface(trials, "probe_top1")
        assert surface is not None
        assert not surface.flat
        assert np.isnan(surface.mean[:20, -20:]).all()
        assert not np.isnan(surface.mean[0, 0])

    def test_surface_of_noise_is_flat(self) -> None:
        values = np.random.default_rng(1).normal(0.9, 0.01, size=25)
        trials = self.points([(10.0**i, 10.0**k) for i in range(5) for k in range(5)]).assign(probe_top1=values)
        surface = fit_surface(trials, "probe_top1")
        assert surface is not None
        assert surface.flat
        assert surface.mean == pytest.approx(np.full((80, 80), values.mean()))
        assert surface.half_width == pytest.approx(np.full((80, 80), 1.96 * values.std(ddof=1) / 5))

    @pytest.mark.parametrize(
        "places",
        [
            [(0.1, 1), (1, 0.1), (0.2, 2), (3, 1)],
            [(0.1, 1.0), (0.2, 1.0), (0.4, 1.0), (0.8, 1.0), (1.6, 1.0), (3.2, 1.0)],
            [(0.1, 1), (1, 0.1), (0.2, 2), (3, 1)] * 3,
        ],
        ids=["four", "a line", "four places thrice"],
    )
    def test_no_surface_of_too_few_or_aligned_points(self, places: list[tuple[float, float]]) -> None:
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
        sizes = {shown.get_label(): len(np.asarray(shown.get_offsets())) for shown in map_of.collections}
        assert sizes["stopped early"] == sizes["failed"] == sizes["paper (0.03, 1)"] == 1
        assert sizes["finished"] == 7
        assert {"uniform (1, 1): not run", "cosine (0.5, 0.5): not run", "best: 89.9 %"} <= set(sizes)
        assert map_of.figure.axes[1].get_xlabel() == "linear probe, top-1 (%)"

    def test_best_follows_the_metrics_direction(self) -> None:
        trials = table(search_rows(3)).assign(val_loss=lambda frame: 1 - frame["probe_top1"])
        for metric in ("probe_top1", "val_loss"):
            map_of = axes()
            draw_map(trials, map_of, metric)
            (ring,) = [shown for shown in map_of.collections if str(shown.get_label()).startswith("best")]
            best = trials.loc[trials["probe_top1"].idxmax()]
            assert np.asarray(ring.get_offsets()).tolist() == [[best["noise_a"], best["noise_b"]]]

    @pytest.mark.parametrize(("side", "surface"), [(1, False), (5, True), (11, True)], ids=["2", "26", "122"])
    def test_any_number_of_trials(self, side: int, surface: bool) -> None:
        (finding,) = find(SEARCH, table(search_rows(side)))
        shown = drawn_figure("map", finding)
        assert any(panel.get_title(loc="left") == "How sure it is" for panel in shown.figure.axes) is surface
        assert ("Gaussian process" in shown.caption) is surface
        assert ("No surface" in shown.caption) is not surface
        assert "best at about" in shown.alt or not surface

    def test_a_flat_surface_is_reported_as_no_pattern(self) -> None:
        noise = np.random.default_rng(2).normal(0.9, 0.01, size=26)
        rows = [trial | {"probe_top1": value} for trial, value in zip(search_rows(5), noise, strict=True)]
        (finding,) = find(SEARCH, table(rows))
        shown = drawn_figure("map", finding)
        mean = f"{100 * noise.mean():.1f} % ± {196 * noise.std(ddof=1) / 26**0.5:.2g} points"
        title = shown.figure.axes[0].get_title(loc="left")
        assert title == f"No pattern is seen between the trials: their mean is {mean}"
        assert mean in shown.alt
        assert "takes all differences between the finished trials for noise" in shown.caption

    def test_a_cell_that_lacks_seeds_is_never_the_best(self) -> None:
        space = [(a, b) for a in (0.03, 0.3, 3.0) for b in (0.1, 1.0)]
        cells = {f"{a}, {b}": {"noise.a": a, "noise.b": b} for a, b in space}
        grid = replace(ORDERS, cells=cells, baseline=None, seeds=2)
        lucky, *others = (
            cell(name, *[by_noise(*place)] * 2, sweep=grid) for name, place in zip(cells, space, strict=True)
        )
        lucky = [lucky[0] | {"probe_top1": 0.99}]
        shown = drawn_figure("map", orders(lucky, *others, sweep=grid))
        assert "Best linear probe 89.8 % at a = 0.3, b = 1;" in shown.alt
        offsets = {
            str(artist.get_label()): np.asarray(artist.get_offsets()) for artist in shown.figure.axes[0].collections
        }
        assert offsets["best: 89.8 %"].tolist() == [[0.3, 1.0]]
        assert offsets["lacks seeds"].tolist() == [[0.03, 0.1]]
        assert "Small: cells that lack some of their seeds" in shown.caption
        paper = [row(grid.experiment(PAPER), 0.99)]
        starred = drawn_figure("map", orders(cell("0.03, 0.1", 0.8, 0.8, sweep=grid), paper, *others[1:], sweep=grid))
        assert "99" not in starred.alt  # nor does the surface run through it
        (star,) = [artist for artist in starred.figure.axes[0].collections if artist.get_label() == "paper (0.03, 1)"]
        assert star.get_sizes().tolist() == pytest.approx([260 / 3])
        assert (
            "Small"
            not in drawn_figure("map", orders(*others, sweep=replace(grid, cells=dict([*cells.items()][1:])))).caption
        )

    def test_the_map_leaves_out_fresh_seeds(self) -> None:
        fresh = [row(SEARCH.experiment(PAPER, 1), 0.1, **GAMMAS)]
        (finding,) = find(SEARCH, table(search_rows(3) + fresh))
        assert "The paper's point (0.03, 1) has 89.7 %" in drawn_figure("map", finding).alt
