"""Pictures are drawn from frames, and say what they show."""

import pandas as pd

from darl.figures import overview

TRIALS = pd.DataFrame(
    {
        "trial_id": ["a", "b", "c", "d"],
        "status": ["finished", "finished", "stopped", "failed"],
        "noise": ["beta"] * 4,
        "noise_a": [0.03, 0.2, 1.0, 5.0],
        "noise_b": [1.0, 0.5, 1.0, 5.0],
        "probe_top1": [0.8, 0.9, 0.5, None],
        "val_loss": [0.4, 0.3, 0.5, None],
    }
)
CURVES = pd.DataFrame(
    {
        "trial_id": ["a", "a", "b", "b", "c"],
        "epoch": [0, 10, 0, 10, 0],
        "probe_top1": [0.3, 0.8, 0.3, 0.9, 0.3],
        "val_loss": [1.0, 0.4, 1.0, 0.3, 1.0],
    }
)


def test_the_overview_names_axes_and_points() -> None:
    for metric, best in (("probe_top1", 90.0), ("val_loss", 0.3)):
        figure = overview(TRIALS, CURVES, metric)
        left, right, bar = figure.axes
        assert (left.get_xscale(), left.get_yscale()) == ("log", "log")
        assert left.get_xlabel().startswith("a")
        assert bar.get_ylabel() == right.get_ylabel() != ""
        names = [text.get_text() for text in left.get_legend().get_texts()]
        assert names == ["stopped early", "paper (0.03, 1)", "uniform (1, 1)", "cosine (0.5, 0.5)", "finished"]
        counts = [len(points.get_offsets()) for points in left.collections]
        assert counts == [1, 1, 0, 0, 1]
        lines = {line.get_label(): line.get_ydata()[-1] for line in right.lines}
        assert lines["best"] == best


def test_a_sweep_with_nothing_finished_is_drawn_too() -> None:
    figure = overview(TRIALS.query("status != 'finished'"), CURVES)
    assert len(figure.axes[1].lines) == 3
