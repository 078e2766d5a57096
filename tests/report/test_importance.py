"""Importances on functions whose importances are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from darl.experiment import Experiment
from darl.report.importance import conditional_importances, importances
from darl.sweep.search import Search
from darl.sweep.space import BetaByMean, BetaByShape, Choice, LogUniform, Point
from tests.report.example_trials import row

RATES = LogUniform(low=1e-4, high=1e-2)


def search(**space: Any) -> Search:
    return Search(name="s", question="?", base=Experiment(epochs=5, seed=7), space=space)


def points(count: int = 24) -> list[Point]:
    """Points that vary in a, b and the learning rate independently."""
    draws = np.random.default_rng(0).uniform(size=(count, 3))
    return [{"noise.a": 0.003 * 3000**x, "noise.b": 0.03 * 300**z, "learning_rate": 1e-4 * 100**y} for x, y, z in draws]


def frame(sweep: Search, places: list[Point], value: Any, repeat: int = 0, **values: Any) -> pd.DataFrame:
    return pd.DataFrame([row(sweep.experiment(place, repeat), value(place), **values) for place in places])


def by_a(point: Point) -> float:
    return 0.8 + 0.02 * np.log10(point["noise.a"])


BOTH = search(noise=BetaByShape(), learning_rate=RATES)


def test_the_decisive_parameter_weighs_most() -> None:
    weights = importances(BOTH, frame(BOTH, points(), by_a))
    assert weights.index[0] == "noise.a"
    assert weights["noise.a"] > 0.8
    assert weights.sum() == pytest.approx(1)
    assert set(weights.index) == {"noise.a", "noise.b", "learning_rate"}
    rate = importances(BOTH, frame(BOTH, points(), lambda point: np.log10(point["learning_rate"])))
    assert rate.index[0] == "learning_rate"


def test_the_same_trials_give_the_same_shares() -> None:
    trials = frame(BOTH, points(), by_a)
    pd.testing.assert_series_equal(importances(BOTH, trials), importances(BOTH, trials))


def test_only_finished_trials_on_the_own_seed_count() -> None:
    trials = frame(BOTH, points(), by_a)
    against = [
        frame(BOTH, points(12), lambda point: -by_a(point), status="stopped"),
        frame(BOTH, points(12), lambda point: -by_a(point), repeat=1),
        frame(BOTH, [{"noise.a": 50.0, "noise.b": 1.0, "learning_rate": 1e-3}], lambda _: -9.0),
    ]
    pd.testing.assert_series_equal(importances(BOTH, pd.concat([trials, *against])), importances(BOTH, trials))


@pytest.mark.parametrize(("count", "enough"), [(7, False), (8, True)])
def test_few_trials_give_no_importances(count: int, enough: bool) -> None:
    assert importances(BOTH, frame(BOTH, points(count), by_a)).empty is not enough


def test_equal_values_give_no_importances() -> None:
    assert importances(BOTH, frame(BOTH, points(), lambda _: 0.5)).empty
    assert importances(BOTH, frame(BOTH, points(), by_a).head(0)).empty


def test_other_metrics_and_coordinates() -> None:
    by_mean = search(noise=BetaByMean(low_concentration=0.01, high_concentration=100, low_mean=1e-5, high_mean=0.9999))
    places: list[Point] = [{name: one[name] for name in ("noise.a", "noise.b")} for one in points()]
    trials = frame(by_mean, places, lambda _: 0.5, val_loss=None)
    trials["val_loss"] = [one["noise.a"] / (one["noise.a"] + one["noise.b"]) for one in places]
    assert importances(by_mean, trials, "val_loss").index[0] == "noise.logit_mean"


def test_alternatives_of_one_kind_are_weighed_apart() -> None:
    option = {"noise.b": LogUniform(low=0.03, high=9)}
    sweep = search(noise=Choice(options={"beta:a=0.1": option, "beta:a=0.2": option}), learning_rate=RATES)
    low: list[Point] = [{"noise": "beta:a=0.1", **one} for one in points()]
    high: list[Point] = [{"noise": "beta:a=0.2", **one} for one in points()]
    for one in low + high:
        del one["noise.a"]
    trials = pd.concat(
        [
            frame(sweep, low, lambda point: np.log10(point["noise.b"])),
            frame(sweep, high, lambda point: np.log10(point["learning_rate"])),
        ],
        ignore_index=True,
    )
    by_alternative = conditional_importances(sweep, trials)
    assert {name: own.index[0] for name, own in by_alternative.items()} == {
        "noise=beta:a=0.1": "noise.b",
        "noise=beta:a=0.2": "learning_rate",
    }


def test_parameters_of_one_alternative_are_weighed_among_its_trials() -> None:
    noise = Choice(options={"beta": {"noise": BetaByShape()}, "linear": {}})
    sweep = search(noise=noise, learning_rate=RATES)
    beta: list[Point] = [{"noise": "beta", **one} for one in points()]
    linear: list[Point] = [{"noise": "linear", "learning_rate": one["learning_rate"]} for one in points(12)]
    trials = pd.concat([frame(sweep, beta, by_a), frame(sweep, linear, lambda _: 0.5)])
    assert set(importances(sweep, trials).index) == {"noise", "learning_rate"}
    (name, own), *others = conditional_importances(sweep, trials).items()
    assert (name, own.index[0], others) == ("noise=beta", "noise.a", [])
    assert "noise" not in own
    assert conditional_importances(BOTH, frame(BOTH, points(), by_a)) == {}
