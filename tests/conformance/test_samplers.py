"""One contract for every sampler: a class that is defined is in the list by itself."""

import math
import warnings

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning

from darl.experiment import Experiment
from darl.sweep.samplers import Sampler
from darl.sweep.search import Search
from darl.sweep.space import BetaByMean, BetaByShape, Choice, LogUniform, Point, Space, fixed_trial
from darl.sweep.study import PastTrial, SearchStudy

SAMPLERS = [sampler() for sampler in Sampler.kinds().values()]
SPACES: dict[str, Space] = {
    "numbers": {"noise": BetaByShape(), "learning_rate": LogUniform(low=1e-4, high=1e-2)},
    "conditional": {
        "noise": Choice(options={"beta": {"noise": BetaByMean()}, "cosine": {}}),
        "order": Choice(options={"raster": {}, "hilbert": {}}),
    },
}
PAST: dict[str, list[Point]] = {
    "numbers": [{"noise.a": a, "noise.b": 1.0, "learning_rate": 0.001} for a in (0.03, 0.3, 3.0)],
    "conditional": [
        {"noise": "beta", "noise.a": 0.5, "noise.b": 1.0, "order": "raster"},
        {"noise": "cosine", "order": "hilbert"},
        {"noise": "cosine", "order": "raster"},
    ],
}


def study(sampler: Sampler, name: str, past: int = 0, seed: int = 0) -> SearchStudy:
    base = Experiment(epochs=18, seed=seed)
    search = Search(name="test", question="?", base=base, space=SPACES[name], sampler=sampler)
    trials = [
        PastTrial(trial_id=search.experiment(point).trial_id, point=point, status="finished", values={18: value})
        for point, value in zip(PAST[name][:past], (0.5, 0.6, 0.7), strict=False)
    ]
    return SearchStudy(search, [], trials)


def proposed(search: SearchStudy, number: int = 16) -> list[Point]:
    """Points of trials that run one after another, every fifth of which fails and every fourth is stopped early."""
    points: list[Point] = []
    for index in range(number):
        point = search.next_point(str(index))
        assert point is not None
        points.append(point)
        value = 1 / (1 + sum(abs(math.log(part)) for part in point.values() if isinstance(part, float)))
        search.report(str(index), 3 if index % 4 == 3 else 18, value)
        search.finish(str(index), failed=index % 5 == 4, interrupted=False)
    return points


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_stays_in_the_space_and_repeats_with_its_seed(sampler: Sampler, name: str) -> None:
    points = proposed(study(sampler, name))
    assert all(fixed_trial(SPACES[name], point) is not None for point in points)
    assert len({str(point) for point in points}) == len(points)
    assert points == proposed(study(sampler, name))
    assert points != proposed(study(sampler, name, seed=1))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_takes_trials_of_earlier_runs(sampler: Sampler, name: str) -> None:
    search = study(sampler, name, past=3)
    points = proposed(search)
    assert len(search.study.trials) >= 3 + len(points)
    assert not [point for point in points if point in PAST[name]]
    assert points != proposed(study(sampler, name))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_is_one_of_optunas_and_builds_without_a_warning(sampler: Sampler) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExperimentalWarning)
        for space in SPACES.values():
            built = sampler.build(space, 0)
            assert isinstance(built, optuna.samplers.BaseSampler)
