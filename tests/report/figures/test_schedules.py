"""The figure of noise schedules: shares of patches by signal, and distributions over its logit."""

import numpy as np
import pytest

from darl.model.noise import Beta, Linear
from darl.report.figures.schedules import draw_distributions, shares
from darl.report.figures.style import LOOKS
from darl.report.findings import find
from tests.report.example_trials import SEARCH
from tests.report.figures.example_figures import axes, drawn_figure, search_rows, table


class TestSchedules:
    def test_shares_equal_hand_computed_values(self) -> None:
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

    def test_an_unnamed_best_schedule_is_labelled_best(self) -> None:
        (finding,) = find(SEARCH, table(search_rows()))
        alt = drawn_figure("schedules", finding).alt
        assert "best: Beta(" in alt
        assert "paper (baseline) 93 %" in alt
