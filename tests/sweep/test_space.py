"""Every dimension draws a part of a point, computes its parameters, and reads it back from an experiment."""

import math

import pytest
from optuna.trial import FixedTrial

from darl.errors import UserError
from darl.experiment import Experiment
from darl.sweep.space import BetaByMean, BetaByShape, Choice, Dimension, LogUniform, Point, read, rounded

RATES = LogUniform(low=1e-4, high=1e-2)
DIMENSIONS: dict[str, tuple[str, Dimension, list[Point]]] = {
    "number": ("learning_rate", LogUniform(low=1e-4, high=1e-2), [{"learning_rate": 0.001234}]),
    "shape": ("noise", BetaByShape(), [{"noise.a": 0.03, "noise.b": 1.0}, {"noise.a": 0.2574, "noise.b": 1.912}]),
    "mean": ("noise", BetaByMean(), [{"noise.a": 0.03, "noise.b": 1.0}, {"noise.a": 0.2574, "noise.b": 1.912}]),
    "choice": (
        "noise",
        Choice(options={"beta": {"noise": BetaByMean()}, "cosine": {}}),
        [{"noise": "beta", "noise.a": 0.03, "noise.b": 1.0}, {"noise": "cosine"}],
    ),
    "variant": (
        "order",
        Choice(options={"raster": {}, "round_robin:block=4": {}}),
        [{"order": "raster"}, {"order": "round_robin:block=4"}],
    ),
    "options with values and dimensions": (
        "noise",
        Choice(options={"beta:a=0.1": {"noise.b": RATES}, "beta:a=0.2": {"noise.b": RATES}, "beta:b=0.7": {}}),
        [
            {"noise": "beta:a=0.1", "noise.b": 0.005},
            {"noise": "beta:a=0.2", "noise.b": 0.005},
            {"noise": "beta:b=0.7"},
        ],
    ),
}
CASES = [(path, part, point) for path, part, points in DIMENSIONS.values() for point in points]


@pytest.mark.parametrize(("path", "part", "point"), CASES)
def test_parameters_of_a_point_draw_that_point(path: str, part: Dimension, point: Point) -> None:
    assert part.draw(path, FixedTrial(part.parameters(path, point))) == point


@pytest.mark.parametrize(("path", "part", "point"), CASES)
def test_a_point_is_read_back_from_its_experiment(path: str, part: Dimension, point: Point) -> None:
    assert part.part(path, Experiment().changed(point)) == point


@pytest.mark.parametrize(("path", "part", "points"), DIMENSIONS.values(), ids=DIMENSIONS)
def test_a_dimension_is_read_back_from_its_record(path: str, part: Dimension, points: list[Point]) -> None:
    assert read(part.to_record()) == part


def test_an_experiment_outside_the_dimension_has_no_part() -> None:
    cosine = Experiment().changed({"noise": "cosine"})
    assert BetaByShape().part("noise", cosine) is None
    assert Choice(options={"beta": {"noise": BetaByShape()}}).part("noise", cosine) is None
    assert Choice(options={"raster": {}}).part("order", Experiment().changed({"order": "hilbert"})) is None
    mse = Experiment().changed({"objective": "mse", "noise": None})
    assert Choice(options={"beta": {}}).part("noise", mse) is None


def test_an_option_that_is_not_defined_here_matches_no_experiment() -> None:
    choice = Choice(options={"of_another_script": {}, "hilbert": {}})
    assert choice.part("order", Experiment()) is None
    assert choice.part("order", Experiment().changed({"order": "hilbert"})) == {"order": "hilbert"}


def test_integers_are_numbers_of_a_point() -> None:
    whole = Experiment().changed({"noise.a": 1, "noise.b": 2, "learning_rate": 1})
    for dimension in (BetaByShape(), BetaByMean()):
        part = dimension.part("noise", whole)
        assert part == {"noise.a": 1.0, "noise.b": 2.0}
        assert all(isinstance(value, float) for value in part.values())
    assert LogUniform(low=0.1, high=2).part("learning_rate", whole) == {"learning_rate": 1.0}
    assert LogUniform(low=0.1, high=2).part("causal", whole) is None


def test_mean_and_concentration_are_those_of_the_beta() -> None:
    drawn = BetaByMean().draw(
        "noise", FixedTrial({"noise.logit_mean": math.log(0.25 / 0.75), "noise.concentration": 8.0})
    )
    assert drawn == {"noise.a": 2.0, "noise.b": 6.0}


def test_numbers_are_drawn_with_four_digits() -> None:
    assert rounded(0.0123456) == 0.01235
    drawn = LogUniform(low=1e-4, high=1e-2).draw("learning_rate", FixedTrial({"learning_rate": 0.00123456}))
    assert drawn == {"learning_rate": 0.001235}


def test_invalid_dimensions_are_refused() -> None:
    with pytest.raises(UserError, match=r"range must have 0 < low < high, got \(1, 1\)"):
        LogUniform(low=1, high=1)
    with pytest.raises(UserError, match="mean must have 0 < low < high < 1"):
        BetaByMean(low_mean=0.0)
    with pytest.raises(UserError, match=r"concentration must have 0 < low < high, got \(30, 20.0\)"):
        BetaByMean(low_concentration=30)
    with pytest.raises(UserError, match=r"range of b must have 0 < low < high, got \(0, 10.0\)"):
        BetaByShape(low_b=0)
    with pytest.raises(
        UserError, match="space must have kinds among log_uniform, beta_by_shape, beta_by_mean, choice, got 'x'"
    ):
        read({"kind": "x"})
    with pytest.raises(UserError, match="space must have the fields of this version"):
        read({"kind": "log_uniform", "least": 1.0})
