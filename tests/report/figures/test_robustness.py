"""The figure of robustness."""

from darl.evaluation.robustness import Robustness
from darl.report.figures.robustness import draw_robustness

ROWS = [
    Robustness(source=source, corruption=corruption, severity=severity, top1=top - 0.1 * severity, half_width=0.02,
               change=1.0)
    for source, top in (("model", 0.9), ("raw pixels", 0.8))
    for corruption, severities in (("clean", [0]), ("shot_noise", [2, 1]), ("jpeg", [1, 2]))
    for severity in severities
]  # fmt: skip


def test_a_panel_for_each_corruption_with_a_line_for_each_source() -> None:
    drawn = draw_robustness(ROWS)
    shown = [axes for axes in drawn.figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") or axes.get_title() for axes in shown] == ["shot noise", "jpeg"]
    for axes in shown:
        lines = {str(line.get_label()): line for line in axes.lines}
        assert list(lines["model"].get_xdata()) == [0, 1, 2]
        assert [round(float(y)) for y in lines["model"].get_ydata()] == [90, 80, 70]
        assert [round(float(y)) for y in lines["raw pixels"].get_ydata()] == [80, 70, 60]
        assert len(axes.collections) == 1
    assert "model: clean 90.0 %, corrupted 75.0 %, which is 83.3 % of it" in drawn.alt
