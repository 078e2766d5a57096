"""The figure of patch orders draws the orders' own paths."""

import numpy as np
import pytest

from darl.model.orders import Order
from darl.report.figures.orders import draw_path
from tests.report.figures.example_figures import axes


class TestOrders:
    @pytest.mark.parametrize("kind", Order.kinds())
    @pytest.mark.parametrize("grid", [(4, 4), (3, 5), (14, 14)])
    def test_the_drawn_path_is_the_order(self, kind: str, grid: tuple[int, int]) -> None:
        order, drawn = Order.parse(kind), axes()
        draw_path(order.permutation(*grid), grid, drawn)
        path = order.permutation(*grid).numpy()
        line = max(drawn.lines, key=lambda own: own.get_zorder() if len(np.asarray(own.get_xdata())) > 1 else -1)
        visited = np.asarray(line.get_ydata()) * grid[1] + np.asarray(line.get_xdata())
        assert visited.tolist() == path.tolist()
        start, end = (next(line for line in drawn.lines if line.get_marker() == mark) for mark in "os")
        assert start.get_ydata()[0] * grid[1] + start.get_xdata()[0] == path[0]
        assert end.get_ydata()[0] * grid[1] + end.get_xdata()[0] == path[-1]
        shaded = np.asarray(drawn.images[0].get_array()).ravel()
        assert np.argsort(shaded).tolist() == path.tolist()
