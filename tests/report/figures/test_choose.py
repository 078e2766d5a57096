"""The choice of figures for a sweep, their texts, and their files."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from darl.experiment import Experiment
from darl.report.figures import draw_all, is_ours, save
from darl.report.figures.style import DARK
from darl.report.findings import find
from darl.sweep.search import Search
from darl.sweep.space import LogUniform
from tests.report.example_trials import ORDERS, SEARCH, THREE, cell, lost, row
from tests.report.figures.example_figures import GAMMAS, by_noise, curves, drawn_figure, orders, search_rows, table


class TestGallery:
    ORDERED = ("cells", "protocols", "orders", "learning")
    SEARCHED = ("map", "schedules", "importance", "learning", "denoising")

    def test_figures_are_chosen_by_what_varies(self) -> None:
        finding = orders(*(cell(name, 0.5, 0.6, 0.7, **GAMMAS) for name in ORDERS.cells))
        assert tuple(figure.name for figure in draw_all([finding], curves(finding.trials))) == self.ORDERED
        (finding,) = find(SEARCH, table(search_rows()))
        assert tuple(figure.name for figure in draw_all([finding], curves(finding.trials))) == self.SEARCHED
        renamed = replace(finding, sweep=replace(SEARCH, name="patch_order"))
        assert tuple(figure.name for figure in draw_all([renamed], curves(finding.trials))) == self.SEARCHED

    def test_a_grid_has_a_map(self) -> None:
        space = [(a, b) for a in (0.03, 0.3, 3.0) for b in (0.1, 1.0)]
        grid = replace(ORDERS, cells={f"{a}, {b}": {"noise.a": a, "noise.b": b} for a, b in space}, baseline=None)
        finding = orders(*(cell(f"{a}, {b}", by_noise(a, b), sweep=grid, **GAMMAS) for a, b in space), sweep=grid)
        assert {"cells", "map", "schedules"} <= {figure.name for figure in draw_all([finding], curves(finding.trials))}

    def test_enlarged_images(self) -> None:
        finding = orders(
            cell("raster", 0.6, probe_top1_enlarged=0.5), cell("hilbert", 0.7, probe_top1_enlarged=0.4)
        )  # fmt: skip
        alt = drawn_figure("enlarged", finding).alt
        assert alt == "Linear probe at 8 and at 12 pixels: raster 60.0 to 50.0 %; hilbert 70.0 to 40.0 %."

    def test_enlarged_images_of_incomplete_cells_stand_last_and_are_named(self) -> None:
        few = cell("hilbert", 0.7, probe_top1_enlarged=0.6)
        figure = drawn_figure("enlarged", orders(cell("raster", 0.6, 0.6, 0.6, probe_top1_enlarged=0.5), few))
        assert "pixels: raster 60.0 to 50.0 %; hilbert 70.0 to 60.0 %." in figure.alt
        assert figure.caption.endswith(
            "In brackets, and last: cells that lack some of their seeds (hilbert has 1 of 3)."
        )

    def test_the_figures_of_a_search_do_not_mix_its_own_seed_with_fresh_ones(self) -> None:
        sizes, losses = {"probe_top1_enlarged": 0.4}, dict.fromkeys(GAMMAS, 0.2)
        own = [cell(name, 0.9, sweep=SEARCH, probe_top1_enlarged=0.8, **losses) for name in ("paper", "a=3, b=1")]
        fresh = [cell(name, 0.5, 0.5, 0.5, sweep=SEARCH, first=1, **sizes, **dict.fromkeys(GAMMAS, 0.4))
                 for name in ("paper", "a=3, b=1")]  # fmt: skip
        alone = cell("a=0.1, b=2", 0.6, sweep=SEARCH, probe_top1_enlarged=0.5, **losses)
        (finding,) = find(SEARCH, table([trial for rows in (*own, *fresh, alone) for trial in rows]))
        enlarged = drawn_figure("enlarged", finding)
        assert enlarged.alt.endswith(": paper 50.0 to 40.0 %; a=3, b=1 50.0 to 40.0 %.")
        assert "lack" not in enlarged.caption
        denoising = drawn_figure("denoising", finding)
        assert "paper: 0.2 at" in denoising.alt
        assert denoising.caption.startswith("Each line is one trial on the search's own seed. All are evaluated")

    def test_groups_whose_names_differ_in_no_letter_of_a_file_name_have_files_of_their_own(self) -> None:
        finding = orders(*THREE)
        groups = [replace(finding.comparison, group=name) for name in ("猫", "犬", "A", "a", "a 2")]
        findings = [replace(finding, comparison=comparison) for comparison in groups]
        drawn = [figure.name for figure in draw_all(findings, curves(finding.trials)) if figure.heading]
        assert len(set(drawn)) == len(drawn) >= 5
        assert {"cells-a", "cells-a-2", "cells-2"} < set(drawn)
        assert all(is_ours(f"{name}.png") for name in drawn)

    def test_losses_that_are_not_comparable_are_not_drawn(self) -> None:
        both = [row(Experiment(epochs=5).changed({"model.patch_size": size}), 0.6, **GAMMAS) for size in (2, 4)]
        sizes = replace(ORDERS, cells={"2": {"model.patch_size": 2}, "4": {"model.patch_size": 4}}, baseline="2")
        (finding,) = find(sizes, table(both))
        assert set(finding.trials["cell"]) == {"2", "4"}
        assert "denoising" not in {figure.name for figure in draw_all([finding], curves(finding.trials))}

    def test_a_race_before_all_known_points_have_run(self) -> None:
        known = {"other": {"noise.a": 0.7, "noise.b": 0.7}, **SEARCH.first}
        trials = table([*search_rows(2), *cell("paper", 0.6, sweep=SEARCH, first=1)])
        (finding,) = find(replace(SEARCH, first=known), trials)
        assert "other" in set(finding.table["cell"])
        assert draw_all([finding], curves(finding.trials))

    @pytest.mark.parametrize("metric", ["probe_top1", "knn_top1", "val_loss"])
    def test_every_figure_has_numbers_and_units(self, metric: str) -> None:
        searched, ordered = table(search_rows()), table([trial for rows in THREE for trial in rows])
        # losses do not compare across orders
        asked = ((SEARCH, searched), *(((ORDERS, ordered),) if metric != "val_loss" else ()))
        for sweep, trials in asked:
            probe = trials["probe_top1"].astype(float)
            findings = find(sweep, trials.assign(knn_top1=probe / 2, val_loss=1 - probe), metric)
            for figure in draw_all(findings, curves(trials)):
                assert any(character.isdigit() for character in figure.alt), figure.name
                assert figure.caption.endswith(".")
                assert figure.title

    def test_few_trials_give_few_figures(self) -> None:
        finding = orders(cell("raster", 0.6))
        assert {figure.name for figure in draw_all([finding], curves(finding.trials))} == {"learning"}
        failed = orders(lost("raster", 0, "boom"))
        assert draw_all([failed], curves(failed.trials).head(0)) == []
        (stopped,) = find(SEARCH, table(search_rows(3, status="stopped")))
        assert {figure.name for figure in draw_all([stopped], curves(stopped.trials))} == {
            "map",
            "schedules",
            "learning",
        }
        (empty,) = find(SEARCH, table(search_rows()).head(0))
        assert draw_all([empty], curves(failed.trials).head(0)) == []

    def test_only_the_reports_own_files_are_recognised(self) -> None:
        findings = orders(*THREE), *find(SEARCH, table(search_rows()))
        names = [figure.name for figure in draw_all(findings, curves(findings[-1].trials))]
        assert len(names) > 5
        assert all(is_ours(f"{name}.png") for name in (*names, *self.ORDERED, *self.SEARCHED))
        assert not any(map(is_ours, ("mine.png", "cells.svg", "cells.png.bak", "mapped.png", "my-cells.png")))

    def test_matplotlibs_style_is_restored(self) -> None:
        before = dict(matplotlib.rcParams)
        finding = orders(cell("raster", 0.6))
        draw_all([finding], curves(finding.trials))
        assert dict(matplotlib.rcParams) == before


class TestFiles:
    def test_each_figure_is_saved_on_a_light_background(self, tmp_path: Path) -> None:
        finding = orders(*THREE)
        drawn = [drawn_figure(name, finding) for name in ("cells", "orders")]
        paths = save(drawn, tmp_path / "new" / "folder")
        assert [path.name for path in paths] == [f"{figure.name}.png" for figure in drawn]
        with Image.open(paths[0]) as image:
            assert min(image.size) > 300
            assert image.convert("RGBA").getpixel((0, 0)) == (254, 254, 253, 255)

    def test_an_svg_follows_the_readers_colour_scheme(self) -> None:
        finding = orders(*THREE)
        figure = drawn_figure("cells", finding)
        drawn = figure.svg()
        assert drawn == drawn_figure("cells", finding).svg()  # the same findings give the same file
        head, _, body = drawn.partition("</style>")
        assert "prefers-color-scheme:dark" in head
        assert all(dark in head for dark in DARK.values())
        assert not [color for color in DARK if color in body]
        assert "var(--n0)" in body
        assert "http-equiv" not in body
        assert figure.address().startswith("data:image/svg+xml;base64,")


def test_a_search_without_noise_has_no_map() -> None:
    space = {"learning_rate": LogUniform(low=1e-4, high=1e-2)}
    search = Search(name="s", question="?", base=Experiment(epochs=5), space=space)
    rows = [row(search.experiment({"learning_rate": rate}), 0.5 + rate, **GAMMAS) for rate in (1e-3, 2e-3, 3e-3)]
    (finding,) = find(search, table(rows))
    assert {figure.name for figure in draw_all([finding], curves(finding.trials))} == {"learning", "denoising"}
