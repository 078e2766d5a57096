"""A variant has the same look in every figure, legible on light and dark backgrounds."""

from dataclasses import replace

from matplotlib.colors import to_hex

from darl.data.content import DataContent
from darl.model.orders import Order
from darl.report.figures.looks import looks
from darl.report.figures.style import DARK, LOOKS
from darl.report.findings import find
from tests.report.example_trials import NOISES, ORDERS, PAPER, SEARCH, THREE, cell, row
from tests.report.figures.example_figures import GAMMAS, drawn_figure, orders, search_rows, table


class TestLooks:
    def test_a_variant_looks_the_same_in_every_figure(self) -> None:
        finding = orders(*(cell(name, 0.5, 0.6, 0.7, **GAMMAS) for name in ORDERS.cells))
        raster = looks(finding)["raster"]
        lines = [line for panel in drawn_figure("learning", finding).figure.axes for line in panel.lines]
        assert {to_hex(str(line.get_color())) for line in lines if line.get_label() == "raster"} == {raster.color}
        design = replace(ORDERS, cells={name: {"position": name} for name in ("absent", "rope2d")}, baseline="absent")
        placed = orders(*(cell(name, 0.5, sweep=design, **GAMMAS) for name in design.cells), sweep=design)
        for figure in ("learning", "denoising"):
            lines = [line for panel in drawn_figure(figure, placed).figure.axes for line in panel.lines]
            seen = {to_hex(str(line.get_color())) for line in lines if line.get_label() == "rope2d"}
            assert seen == {looks(placed)["rope2d"].color}
        assert to_hex(drawn_figure("orders", finding).figure.axes[0].spines["left"].get_edgecolor()) == raster.color
        marks = [
            line for line in drawn_figure("cells", finding).figure.axes[0].lines if line.get_marker() == raster.marker
        ]
        assert {line.get_markeredgecolor() for line in marks} == {raster.color}

    def test_a_variant_looks_the_same_in_another_sweep(self) -> None:
        cells = {name: {"order": name} for name in ("spiral", "random", "raster", "hilbert")}
        other = replace(ORDERS, cells=cells)
        finding = orders(*(cell(name, 0.5, sweep=other) for name in cells), sweep=other)
        own = looks(orders(*THREE))
        assert {name: looks(finding)[name] for name in own} == own

    def test_every_order_has_a_colour_of_its_own(self) -> None:
        every = replace(ORDERS, cells={name: {"order": name} for name in Order.kinds()})
        finding = orders(*(cell(name, 0.5, sweep=every) for name in every.cells), sweep=every)
        assert len({look.color for look in looks(finding).values()}) == len(Order.kinds())
        assert len({look.marker for look in looks(finding).values()}) == len(Order.kinds())

    def test_masks_of_one_encoding_differ_in_dashes(self) -> None:
        cells = {f"{name} {causal}": {"position": name, "causal": causal}
                 for name in ("absent", "rope2d") for causal in (True, False)}  # fmt: skip
        design = replace(ORDERS, cells=cells, baseline=None)
        by_cell = looks(orders(*(cell(name, 0.5, sweep=design) for name in cells), sweep=design))
        causal_look, full_look = by_cell["rope2d True"], by_cell["rope2d False"]
        assert (causal_look.color, causal_look.marker) == (full_look.color, full_look.marker)
        assert causal_look.dashes != full_look.dashes

    def test_the_paper_has_its_star_in_a_search_and_in_a_design(self) -> None:
        design = replace(ORDERS, cells={"paper": PAPER, "other": {"noise.a": 2.0}}, baseline="paper")
        designed = looks(orders(*(cell(name, 0.5, sweep=design) for name in design.cells), sweep=design))
        (finding,) = find(SEARCH, table(search_rows(3)))
        assert looks(finding)["paper"] == designed["paper"]
        assert designed["paper"].marker == "*"

    def test_moved_data_and_rows_of_older_versions_keep_the_known_looks(self) -> None:
        content = DataContent(train=80, validation=20, classes=2, fingerprint="a" * 16)
        sweep = replace(SEARCH, contents={"digits": content}, baseline=None)
        uniform = sweep.experiment({"noise.a": 1.0, "noise.b": 1.0})
        moved = replace(sweep.experiment(NOISES["a=3, b=1"]), data="/moved")
        older = SEARCH.experiment(PAPER)
        experiments = (uniform, 0.5), (moved, 0.7), (older, 0.6)
        (finding,) = find(sweep, table([row(experiment, probe) for experiment, probe in experiments]))
        own = {str(cell): look.marker for cell, look in looks(finding).items()}
        assert own == {"a=1, b=1": "s", "a=3, b=1": "o", "paper": "*"}

    def test_text_is_legible_on_light_and_dark(self) -> None:
        def luminance(color: str) -> float:
            parts = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        def contrast(panel: str, other: str) -> float:
            low, high = sorted((luminance(panel), luminance(other)))
            return (high + 0.05) / (low + 0.05)

        (ink, muted, _, ground), dark = DARK, list(DARK.values())
        assert contrast(ink, ground) > 7
        assert contrast(dark[0], dark[3]) > 7
        assert contrast(muted, ground) > 4.5
        assert contrast(dark[1], dark[3]) > 4.5
        assert all(contrast(look.color, dark[3]) > 3 for look in LOOKS if look.color != ink)
        assert all(contrast(look.color, ground) > 2 for look in LOOKS)
