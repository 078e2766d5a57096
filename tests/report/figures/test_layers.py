"""The figure of accuracy over depth."""

from darl.evaluation.layers import Layer
from darl.report.figures.layers import draw_layers


def layer(block: int, readout: str, value: float, blocks: int = 1) -> Layer:
    chosen = (block, blocks, readout) == (2, 1, "mean")
    return Layer(
        block=block, blocks=blocks, readout=readout, held_out_top1=value - 0.02, probe_top1=value,
        probe_half_width=0.03, knn_top1=value - 0.1, knn_half_width=0.04, chosen=chosen,
    )  # fmt: skip


LAYERS = [
    *(layer(block, readout, 0.5 + block / 10) for block in (1, 2, 3) for readout in ("mean", "tokens")),
    *(layer(3, readout, 0.7, blocks=3) for readout in ("mean", "tokens")),
]


def test_a_line_for_each_pooling_and_a_band_of_its_interval() -> None:
    drawn = draw_layers(LAYERS, {"pixels_probe_top1": 0.4, "pixels_knn_top1": 0.3})
    probe, knn = drawn.figure.axes
    lines = {str(line.get_label()): line for line in probe.lines}
    assert list(lines["tokens"].get_xdata()) == [1, 2, 3]
    assert [round(float(y)) for y in lines["mean"].get_ydata()] == [60, 70, 80]
    assert [round(float(y)) for y in lines["mean: ridge, held-out tenth"].get_ydata()] == [58, 68, 78]
    assert float(lines["raw pixels"].get_ydata()[0]) == 40
    assert [text.get_text() for text in probe.get_xticklabels()] == ["1", "2", "3", "last 3"]
    assert "mean: ridge, held-out tenth" not in [line.get_label() for line in knn.lines]
    low, high = (limit(knn.collections[0].get_paths()[0].vertices[:, 1]) for limit in (min, max))
    assert (round(float(low)), round(float(high))) == (46, 74)
    assert "Best by linear probe: block 3, mean, with 80.0 %" in drawn.alt
    assert "The linear probe chooses block 2, mean." in drawn.caption


def test_pixels_that_were_not_measured_are_left_out() -> None:
    (probe, _) = draw_layers(LAYERS, {}).figure.axes
    assert "raw pixels" not in [line.get_label() for line in probe.lines]
