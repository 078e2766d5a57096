"""The scaling law: it finds a law that is known, foretells new runs, and is not bent by a bad run."""

import math

import numpy as np
import pandas as pd
import pytest

from darl.sweep.scaling_law import agreement, fit, runs_of

SIZES = (1e6, 2.25e6, 4e6)
BUDGETS = (6e10, 1.2e11, 2.4e11)


def true_loss(size: float, images: float) -> float:
    return 0.3 + 0.08 * (size / 1e6) ** -0.5 + 0.1 * (images / 1e4) ** -0.4


def runs(noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Three seeds of three sizes at three budgets."""
    generator = np.random.default_rng(seed)
    every = [(size, budget / size / 3, f"{size}, {budget}") for size in SIZES for budget in BUDGETS for _ in range(3)]
    rows = [
        (cell, size, images, true_loss(size, images) * math.exp(generator.normal(0, noise)))
        for size, images, cell in every
    ]
    return pd.DataFrame(rows, columns=["cell", "size", "images", "loss"])


def test_a_law_without_noise_is_found_and_extrapolated() -> None:
    law = fit(runs(), resamples=4)
    assert law is not None
    assert law.deviation < 1e-4
    forecast = law.forecast(9e6, 4e4)
    assert forecast.value == pytest.approx(true_loss(9e6, 4e4), rel=2e-3)
    assert forecast.high - forecast.low < 2e-3


def test_forecasts_of_noisy_runs_hold_as_often_as_they_say() -> None:
    truth, held = true_loss(9e6, 1.5e4), 0
    for seed in range(5):
        law = fit(runs(0.004, seed), resamples=20)
        assert law is not None
        assert law.deviation == pytest.approx(0.004, rel=0.5)
        forecast = law.forecast(9e6, 1.5e4, runs=3)
        assert forecast.low < forecast.value < forecast.high
        held += forecast.low <= truth <= forecast.high
    assert held >= 4


def test_one_bad_run_bends_no_law() -> None:
    table = runs(0.002)
    table.loc[4, "loss"] *= 1.4
    law = fit(table, resamples=2)
    assert law is not None
    assert law.loss(4e6, 2e4) == pytest.approx(true_loss(4e6, 2e4), rel=5e-3)


def test_the_gain_of_twice_the_operations_is_that_of_the_best_size() -> None:
    law = fit(runs(), resamples=4)
    assert law is not None
    best = [min(true_loss(size, flops / size / 3) for size in SIZES) for flops in (1e11, 2e11)]
    assert law.best(SIZES, 1e11) == pytest.approx(best[0], rel=2e-3)
    assert law.gain_of_doubling(SIZES, 1e11).value == pytest.approx(1 - best[1] / best[0], abs=2e-3)


def test_the_order_of_the_rows_changes_nothing() -> None:
    table = runs(0.004)
    first, second = (fit(each, resamples=3) for each in (table, table.sample(frac=1, random_state=1)))
    assert first is not None
    assert second is not None
    assert first.forecast(9e6, 2e4) == second.forecast(9e6, 2e4)


@pytest.mark.parametrize("kept", ["size == 1e6", "cell in cell.unique()[:5]", "cell == ''"])
def test_too_few_cells_give_no_law(kept: str) -> None:
    assert fit(runs().query(kept)) is None


def test_runs_are_finished_trials_and_sizes_their_forward_passes() -> None:
    trials = pd.DataFrame(
        {
            "cell": ["a", "a", "b"], "status": ["finished", "failed", "finished"], "val_loss": [0.5, 0.4, None],
            "probe_top1": [0.9, 0.8, 0.7], "flops": [6e9, 6e9, 6e9], "images_seen": [1000, 1000, 1000],
        }
    )  # fmt: skip
    (own,) = runs_of(trials).to_dict("records")
    assert own == {"loss": 0.5, "accuracy": 0.9, "flops": 6e9, "images": 1000.0, "cell": "a", "size": 2e6}


def test_agreement_is_one_where_the_lower_loss_is_always_better() -> None:
    assert agreement([0.5, 0.4, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4]).tau == pytest.approx(1)
    assert agreement([0.5, 0.4, 0.3, 0.2], [0.4, 0.3, 0.2, 0.1]).tau == pytest.approx(-1)
