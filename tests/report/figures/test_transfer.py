"""The figure of transfer."""

from darl.evaluation.transfer import Row
from darl.report.figures.transfer import draw_transfer


def row(data: str, value: float | None, run: str = "one", metric: str = "knn_top1", pixels: float = 0.4) -> Row:
    return Row(run=run, data=data, protocol=metric.partition("_")[0], metric=metric, value=value, half_width=0.05,
               pixels=pixels, random=0.2)  # fmt: skip


ROWS = [row("digits", 0.5), row("digits", 0.6, run="two"), row("/far/pets", None), row("/far/pets", 0.7, run="two"),
        row("dtd", None), row("dtd", None, run="two"), row("digits", 7.0, metric="rankme")]  # fmt: skip


def test_a_dot_with_its_interval_for_each_run_and_data_set() -> None:
    drawn = draw_transfer(ROWS)
    assert drawn is not None
    (axes,) = drawn.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["digits", "pets", "dtd"]
    one, two = axes.containers
    assert [list(bars.lines[0].get_xdata()) for bars in (one, two)] == [[50.0], [60.0, 70.0]]
    assert [tuple(map(float, segment[:, 0])) for segment in one.lines[2][0].get_segments()] == [(45.0, 55.0)]
    marks = {str(line.get_label()): list(line.get_xdata()) for line in axes.lines if line.get_label()}
    assert marks["raw pixels"] in ([40.0], [40.0, 40.0])
    assert [text.get_text() for text in axes.texts] == ["no value"]
    assert "two on /far/pets, kNN: 70.0 %" in drawn.alt
    assert "RankMe" not in drawn.alt


def test_nothing_measured_is_no_figure() -> None:
    assert draw_transfer([row("digits", None)]) is None
