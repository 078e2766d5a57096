"""Decisions of a search, without Ray. Suggestions equal those of the first version, which used Ray's OptunaSearch."""

import math
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from darl.experiment import Experiment
from darl.sweep.samplers import GaussianProcess, Random
from darl.sweep.search import Search
from darl.sweep.space import BetaByMean, BetaByShape, Choice, LogUniform, Point, Space
from darl.sweep.study import PastTrial, SearchStudy

PAPER = {"noise.a": 0.03, "noise.b": 1.0}
PAST = [
    PastTrial(trial_id="1", point=PAPER, status="finished", values={3: 0.3, 18: 0.8}),
    PastTrial(trial_id="2", point={"noise.a": 1.0, "noise.b": 1.0}, status="stopped", values={3: 0.1}),
]
JOINT: Space = {
    "noise": Choice(options={"beta": {"noise": BetaByMean()}, "cosine": {}}),
    "order": Choice(options={"raster": {}, "hilbert": {}}),
    "learning_rate": LogUniform(low=1e-4, high=1e-2),
}
BETAS: dict[str, list[tuple[float, float]]] = {
    "fresh": [(0.03, 1.0), (0.2574, 1.912), (0.3986, 0.7109), (0.09324, 1.278), (0.1044, 5.333), (0.005062, 0.0546),
              (6.948, 0.2387), (0.447, 0.04555), (5.69, 7.559), (1.615, 1.847), (0.008885, 9.424), (1.244, 0.5659)],
    "continued": [(0.01816, 4.719), (0.01605, 6.233), (0.1577, 1.048), (0.003712, 0.05953), (0.08433, 0.04449),
                  (9.758, 5.2), (3.853, 0.1083), (0.004035, 0.602), (0.0381, 0.17), (2.046, 5.562)],
    "by loss": [(1.573, 2.85), (0.9087, 0.8852), (0.3544, 2.709), (1.5, 9.771), (0.7511, 0.01152), (0.2968, 0.003786),
                (0.07542, 0.02688), (0.0009129, 0.6548), (0.0004942, 0.4331), (0.0005348, 0.2078)],
}  # fmt: skip
RECORDED: dict[str, list[Point]] = {
    **{name: [{"noise.a": a, "noise.b": b} for a, b in pairs] for name, pairs in BETAS.items()},
    "conditional": [
        {"noise": "cosine", "order": "raster", "learning_rate": 0.0007036},
        {"noise": "beta", "noise.a": 15.94, "noise.b": 0.559, "order": "hilbert", "learning_rate": 0.001142},
        {"noise": "cosine", "order": "hilbert", "learning_rate": 0.0001098},
        {"noise": "beta", "noise.a": 17.09, "noise.b": 0.7698, "order": "raster", "learning_rate": 0.00364},
        {"noise": "cosine", "order": "hilbert", "learning_rate": 0.001106},
        {"noise": "cosine", "order": "hilbert", "learning_rate": 0.001138},
        {"noise": "cosine", "order": "hilbert", "learning_rate": 0.006757},
        {"noise": "beta", "noise.a": 0.004249, "noise.b": 0.135, "order": "raster", "learning_rate": 0.000248},
        {"noise": "cosine", "order": "raster", "learning_rate": 0.009899},
        {"noise": "cosine", "order": "raster", "learning_rate": 0.005628},
    ],
    "used up": [{"order": "hilbert"}, {"order": "snake"}, {"order": "raster"}],
}
"""What the version before this module suggested for the same seeds, with Optuna 5.0.0."""


def search(space: Space, **changes: Any) -> Search:
    base = Experiment(epochs=18, seed=changes.pop("seed", 0))
    return Search(name="test", question="?", base=base, space=space, **changes)


SEARCHES: dict[str, tuple[Search, list[Point], list[PastTrial]]] = {
    "fresh": (search({"noise": BetaByShape()}), [PAPER], []),
    "continued": (search({"noise": BetaByShape()}, seed=3), [], PAST),
    "by loss": (search({"noise": BetaByMean()}, metric="val_loss"), [], []),
    "conditional": (search(JOINT), [], []),
    "used up": (search({"order": Choice(options={"raster": {}, "hilbert": {}, "snake": {}})}), [], []),
}


def score(point: Point) -> float:
    """Better the nearer all numbers are to 1."""
    logs = [abs(math.log(value)) for value in point.values() if isinstance(value, float)]
    return round(1 / (1 + sum(logs)), 6)


def suggested(study: SearchStudy, number: int) -> list[Point]:
    """Points of trials that run one after another; some are stopped after epoch 3, some fail."""
    points: list[Point] = []
    for index in range(number):
        point = study.next_point(str(index))
        if point is None:
            break
        points.append(point)
        failed = index % 4 != 2 and index % 7 == 6
        if not failed:
            study.report(str(index), 3 if index % 4 == 2 else 18, score(point))
        study.finish(str(index), failed=failed, interrupted=False)
    return points


@pytest.mark.skipif(optuna.__version__ != "5.0.0", reason="the suggestions were recorded with Optuna 5.0.0")
@pytest.mark.parametrize("name", RECORDED)
def test_the_same_seed_suggests_what_the_first_version_suggested(name: str) -> None:
    number = len(RECORDED[name]) + (name == "used up")
    assert suggested(SearchStudy(*SEARCHES[name]), number) == RECORDED[name]


def test_study_attributes_equal_the_first_versions() -> None:
    study = SearchStudy(*SEARCHES["fresh"])
    point = study.next_point("a")
    assert point is not None
    assert study.study.study_name == "test on digits"
    assert study.study.metric_names == ["probe_top1"]
    assert study.study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.study.user_attrs == {
        "sampler": {
            "kind": "TPESampler",
            "optuna": optuna.__version__,
            "multivariate": True,
            "group": False,
            "constant_liar": True,
            "n_startup_trials": 5,
        }
    }
    trial_id = SEARCHES["fresh"][0].experiment(point).trial_id
    assert study.study.trials[0].user_attrs == {"trial_id": trial_id, "cell": "a=0.03, b=1"}


def test_searches_that_share_name_and_data_have_studies_of_their_own() -> None:
    storage = InMemoryStorage()
    first = SearchStudy(search({"noise": BetaByShape()}), [PAPER], [], storage)
    suggested(first, 2)
    second = SearchStudy(search({"noise": BetaByMean()}), [], PAST, storage)
    assert [study.study.study_name for study in (first, second)] == ["test on digits", "test on digits (2)"]
    assert [len(study.study.trials) for study in (first, second)] == [2, 2]


def test_another_sampler_draws_other_points_and_is_recorded() -> None:
    for sampler, name in ((Random(), "RandomSampler"), (GaussianProcess(startup=2), "GPSampler")):
        study = SearchStudy(search({"noise": BetaByShape()}, sampler=sampler), [], [])
        assert study.settings["kind"] == name
        assert suggested(study, 8) != suggested(SearchStudy(search({"noise": BetaByShape()}), [], []), 8)


def test_only_a_whole_finite_trial_is_complete() -> None:
    study = SearchStudy(*SEARCHES["by loss"])
    ends: list[tuple[list[tuple[int, float | None]], bool, TrialState]] = [
        ([(3, 0.4), (18, 0.9)], False, TrialState.COMPLETE),
        ([(3, 0.4)], False, TrialState.PRUNED),
        ([(3, 0.4), (18, math.nan)], False, TrialState.FAIL),
        ([(18, 0.9)], True, TrialState.FAIL),
        ([(18, None)], False, TrialState.FAIL),
        ([], False, TrialState.FAIL),
    ]
    for key, (values, failed, _) in enumerate(ends):
        study.next_point(str(key))
        for epoch, value in values:
            study.report(str(key), epoch, value)
        study.finish(str(key), failed=failed, interrupted=False)
    assert [trial.state for trial in study.study.trials] == [state for _, _, state in ends]
    assert study.study.trials[1].intermediate_values == {3: 0.4}


def test_an_interrupted_trial_is_reported_only_if_complete_or_failed() -> None:
    study = SearchStudy(*SEARCHES["by loss"])
    for key, epoch, failed in (("a", 3, False), ("b", 18, False), ("c", 3, True)):
        study.next_point(key)
        study.report(key, epoch, 0.5)
        study.finish(key, failed=failed, interrupted=True)
    states = [trial.state for trial in study.study.trials]
    assert states == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL]
