"""Statistics over few seeds against hand-computed values, scipy's own tests, and many simulated sweeps."""

import gc
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from darl.sweep.statistics import detectable, differences, fallen, kendall, means, seed_sd


def frame(**cells: Sequence[float] | dict[int, float]) -> pd.DataFrame:
    """Cells by name, each with its values by seed."""
    rows = [
        (cell, seed, value)
        for cell, values in cells.items()
        for seed, value in (values if isinstance(values, dict) else dict(enumerate(values))).items()
    ]
    return pd.DataFrame(rows, columns=["cell", "seed", "value"]).astype({"value": "float64"})


def simulated(cells: int, seeds: int, generator: np.random.Generator, shared: float = 1.0) -> pd.DataFrame:
    """Cells without any difference; each seed is good or bad for all of them alike."""
    values = generator.normal(size=(cells, seeds)) + shared * generator.normal(size=seeds)
    names = np.repeat([f"cell {cell}" for cell in range(cells)], seeds)
    return pd.DataFrame({"cell": names, "seed": np.tile(np.arange(seeds), cells), "value": values.ravel()})


class TestMeans:
    def test_mean_and_interval_equal_hand_computed_values(self):
        row = means(frame(a=[1, 2, 3])).loc["a"]
        half = 4.302653 / math.sqrt(3)  # the 97.5 % quantile of t with two degrees of freedom; standard deviation 1
        assert (row["mean"], row["seeds"]) == (2, 3)
        assert [row["low"], row["high"]] == pytest.approx([2 - half, 2 + half], rel=1e-6)

    def test_cells_keep_the_frames_order_and_their_own_seeds(self):
        table = means(frame(b=[1, 2], a={0: 5, 7: 6, 9: 7}))
        assert table.index.tolist() == ["b", "a"]
        assert table["seeds"].tolist() == [2, 3]

    def test_one_seed_has_no_interval(self):
        row = means(frame(a=[0.5])).loc["a"]
        assert (row["mean"], row["seeds"]) == (0.5, 1)
        assert np.isnan([row["low"], row["high"]]).all()

    def test_equal_values_have_no_interval(self):
        row = means(frame(a=[0.1 + 0.2, 0.3, 0.3])).loc["a"]
        assert row["mean"] == pytest.approx(0.3)
        assert np.isnan([row["low"], row["high"]]).all()

    def test_empty_frame_gives_empty_table(self):
        assert means(frame()).empty

    @pytest.mark.parametrize("seeds", [3, 6])
    def test_the_interval_covers_the_truth_in_95_percent(self, seeds: int):
        table = means(simulated(2000, seeds, np.random.default_rng(1), shared=0.0))
        covered = ((table["low"] < 0) & (table["high"] > 0)).mean()
        assert covered == pytest.approx(0.95, abs=0.015)  # three standard deviations of 2000 draws


class TestDifferences:
    def test_against_scipy(self):
        a, b = [0.61, 0.64, 0.60, 0.66], [0.60, 0.61, 0.61, 0.62]
        row = differences(frame(b=b, a=a), "b", "max").loc["a"]
        test = stats.ttest_rel(a, b)
        assert [row["difference"], row["p"]] == pytest.approx([np.mean(a) - np.mean(b), test.pvalue])
        assert [row["difference_low"], row["difference_high"]] == pytest.approx(list(test.confidence_interval(0.95)))

    def test_only_common_seeds_are_paired(self):
        row = differences(frame(b={0: 1, 1: 2, 5: 99}, a={0: 2, 1: 4, 2: -50}), "b", "max").loc["a"]
        assert (row["difference"], row["pairs"]) == (1.5, 2)

    def test_the_baseline_has_no_row(self):
        assert differences(frame(b=[1, 2], a=[2, 2], c=[0, 1]), "b", "max").index.tolist() == ["a", "c"]

    def test_holm_p_values_equal_hand_computed_values(self):
        generator = np.random.default_rng(2)
        values = frame(b=generator.normal(size=8), **{name: generator.normal(0.8, 1, 8) for name in "acde"}, f={0: 1.0})
        table = differences(values, "b", "max")
        p = table["p"].dropna().sort_values()
        assert len(p) == 4  # f has one pair, so no p, and is not counted
        steps = np.minimum(np.maximum.accumulate(p.to_numpy() * np.arange(4, 0, -1)), 1)
        assert table.loc[p.index, "p_holm"].tolist() == pytest.approx(steps.tolist())
        assert math.isnan(table.loc["f", "p_holm"])

    def test_without_the_baseline_nothing_is_compared(self):
        table = differences(frame(a=[1, 2, 3]), "b", "max")
        assert table.loc["a", ["pairs", "verdict"]].tolist() == [0, "inconclusive"]
        assert table[["difference", "p", "p_holm"]].isna().all(axis=None)
        assert differences(frame(), "b", "max").empty

    @pytest.mark.parametrize(
        ("apart", "p"),
        [([0.0] * 6, 1.0), ([0.01] * 6, 2 / 64), ([-0.01] * 3, 2 / 8), ([0.1 + 0.2 - 0.3, 0.0], 1.0)],
    )
    def test_equal_differences_are_tested_by_their_signs(self, apart: list[float], p: float):
        table = differences(frame(b=[0.5] * len(apart), a=0.5 + np.array(apart)), "b", "max")
        assert table.loc["a", "p"] == pytest.approx(p)
        assert math.isnan(table.loc["a", "difference_low"])

    def test_holm_keeps_the_family_wise_error_rate(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels' correction collects garbage: half a second a time
        generator = np.random.default_rng(3)
        tables = [differences(simulated(6, 6, generator), "cell 0", "max") for _ in range(400)]
        false = np.mean([table["verdict"].isin(["better", "worse"]).any() for table in tables])
        uncorrected = np.mean([(table["p"] < 0.05).any() for table in tables])
        assert false <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
        assert uncorrected > 0.1  # what the correction is for

    def test_paired_seeds_cancel_what_they_share(self):
        generator = np.random.default_rng(4)
        table = differences(simulated(2, 8, generator, shared=100.0), "cell 0", "max")
        assert table["difference"].abs().max() < 3


class TestVerdict:
    APART = (0.10, 0.11, 0.09, 0.10, 0.11, 0.09, 0.10)

    def verdict(self, pairs: int, mode: str = "max", sign: int = 1) -> str:
        apart = sign * np.array(self.APART[:pairs])
        return str(differences(frame(b=[0.5] * pairs, a=0.5 + apart), "b", mode).loc["a", "verdict"])

    def test_below_six_seeds_nothing_is_called_better(self):
        values = frame(b=[0.5] * 5, a=0.5 + np.array(self.APART[:5]))
        assert differences(values, "b", "max").loc["a", "p_holm"] < 1e-4
        assert [self.verdict(pairs) for pairs in range(1, 6)] == ["one seed", *["inconclusive"] * 4]

    def test_from_six_seeds_on_a_difference_can_be_better(self):
        assert [self.verdict(6), self.verdict(7, sign=-1)] == ["better", "worse"]

    def test_lower_losses_are_better(self):
        assert [self.verdict(6, "min"), self.verdict(6, "min", sign=-1)] == ["worse", "better"]

    def test_verdict_uses_the_corrected_p(self):
        generator = np.random.default_rng(5)
        others = {f"c{index}": 0.5 + generator.normal(0, 0.1, 6) for index in range(20)}
        apart = np.array([0.1, 0.02, 0.12, -0.02, 0.15, 0.05])
        alone, among = ({"a": 0.5 + apart}, {"a": 0.5 + apart, **others})
        verdicts = [
            differences(frame(b=[0.5] * 6, **cells), "b", "max").loc["a", "verdict"] for cells in (alone, among)
        ]
        assert verdicts == ["better", "inconclusive"]


class TestPower:
    @pytest.mark.parametrize(("seeds", "comparisons"), [(2, 1), (3, 7), (3, 50), (6, 7), (30, 7)])
    def test_a_detectable_difference_is_detected_in_four_of_five_sweeps(self, seeds: int, comparisons: int):
        apart = detectable(seeds, 2.0, comparisons)
        assert apart is not None
        samples = np.random.default_rng(6).normal(apart, 2.0, size=(20000, seeds))
        p = stats.ttest_1samp(samples, 0, axis=1).pvalue
        assert (p < 0.05 / comparisons).mean() == pytest.approx(0.8, abs=0.01)

    def test_power_equals_statsmodels(self):
        effect = TTestPower().solve_power(nobs=10, alpha=0.05, power=0.9, alternative="two-sided")
        assert detectable(10, 0.5, 1, power=0.9) == pytest.approx(0.5 * effect, rel=1e-4)

    def test_one_seed_detects_nothing(self):
        assert detectable(1, 0.01, 3) is None

    def test_seed_sd_is_pooled_over_cells(self):
        values = frame(b=[0, 0, 0], a=[1, 2, 3], c={0: 5, 1: 9}, d=[7])
        assert seed_sd(values, "b") == pytest.approx(math.sqrt((2 * 1 + 1 * 8) / 3))

    def test_a_difference_common_to_all_seeds_adds_no_spread(self):
        assert seed_sd(frame(b=[1, 2, 3], a=[101, 102.5, 103]), "b") == pytest.approx(math.sqrt(1 / 12))

    @pytest.mark.parametrize("values", [frame(), frame(b=[1], a=[2]), frame(a=[1, 2]), frame(b=[1, 2], a=[2, 3])])
    def test_seed_sd_is_none_without_repeated_pairs(self, values: pd.DataFrame):
        assert seed_sd(values, "b") is None


class TestKendall:
    def test_against_scipy(self):
        early, final = [1, 2, 2, 3, 5, 4, 6, 7], [2, 1, 3, 3, 4, 6, 5, 9]
        correlation = kendall(early, final)
        assert correlation.n == 8
        assert correlation.tau == pytest.approx(stats.kendalltau(early, final).statistic)

    def test_the_interval_is_a_percentile_bootstrap(self):
        generator = np.random.default_rng(7)
        early = generator.normal(size=12)
        final = early + generator.normal(size=12)
        correlation = kendall(early.tolist(), final.tolist())
        result = stats.bootstrap(
            (early, final), lambda x, y: stats.kendalltau(x, y).statistic, paired=True, vectorized=False,
            method="percentile", n_resamples=2000, rng=np.random.default_rng(8),
        )  # fmt: skip
        interval = result.confidence_interval
        assert [correlation.low, correlation.high] == pytest.approx([interval.low, interval.high], abs=0.05)

    def test_the_same_scores_give_the_same_result_in_any_order(self):
        early, final = [3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]
        assert kendall(early, final) == kendall(early, final) == kendall(early[::-1], final[::-1])

    def test_close_rankings_predict_and_reversed_ones_do_not(self):
        generator = np.random.default_rng(9)
        final = generator.normal(size=10)
        assert kendall((final + generator.normal(0, 0.1, 10)).tolist(), final.tolist()).predicts
        assert not kendall((-final).tolist(), final.tolist()).predicts

    def test_random_scores_seldom_predict(self):
        generator = np.random.default_rng(10)
        scores = generator.normal(size=(200, 2, 8)).tolist()
        assert np.mean([kendall(early, final, resamples=200).predicts for early, final in scores]) < 0.05

    def test_three_trials_in_the_same_order_do_not_predict(self):
        correlation = kendall([1, 2, 3], [1, 2, 3])
        assert (correlation.tau, correlation.low, correlation.predicts) == (1.0, 0.0, False)
        assert kendall(range(8), range(8)).predicts

    def test_a_trial_without_a_score_is_left_out(self):
        assert kendall([1, 2, math.nan, 4, 5], [1, 2, 3, math.nan, 5]).n == 3

    @pytest.mark.parametrize(("early", "final"), [([], []), ([1.0], [2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])])
    def test_tau_is_nan_without_an_order(self, early: list[float], final: list[float]):
        correlation = kendall(early, final)
        assert math.isnan(correlation.tau)
        assert not correlation.predicts


class TestFallen:
    def test_equal_leaders_give_the_same_result_in_any_order(self):
        counts = {"one": (216, 220, 224, 230), "two": (224, 220, 216, 230), "three": (198, 202, 207)}
        rows = [(cell, seed, n / 360) for cell, own in counts.items() for seed, n in enumerate(own)]
        results = {
            frozenset(fallen(pd.DataFrame(order, columns=["cell", "seed", "value"]), "max"))
            for order in (rows, rows[::-1], sorted(rows, key=lambda row: row[1]), sorted(rows))
        }
        assert len(results) == 1

    def test_a_cell_far_behind_falls(self):
        values = frame(lead=[0.70, 0.72, 0.71], close=[0.71, 0.70, 0.70], last=[0.60, 0.63, 0.61])
        assert fallen(values, "max") == {"last"}

    def test_the_highest_loss_falls(self):
        values = frame(lead=[0.20, 0.22, 0.21], close=[0.21, 0.20, 0.22], last=[0.30, 0.33, 0.31])
        assert fallen(values, "min") == {"last"}

    def test_level_is_one_sided_95_percent(self):
        apart = np.array([-1.0, -1.0, 0.0, 0.0])  # t = -1.73; its one-sided p is 0.09
        assert fallen(frame(lead=np.zeros(4), a=apart), "max") == set()
        apart = np.array([-1.0, -1.0, -1.0, 0.0])  # t = -3; p 0.029, but 0.058 two-sided
        assert fallen(frame(lead=np.zeros(4), a=apart), "max") == {"a"}

    def test_two_seeds_drop_no_cell(self):
        assert fallen(frame(lead=[0.9], last=[0.1]), "max") == set()
        assert fallen(frame(lead=[0.9, 0.91], last=[0.1, 0.12]), "max") == set()

    def test_level_is_divided_by_the_number_of_cells(self):
        apart = np.array([-1.0, -1.0, -1.0, 0.0])  # one-sided p 0.029
        lead = np.zeros(4)
        assert fallen(frame(lead=lead, a=apart, b=lead - np.array([0.0, 0.1, -0.1, 0.1])), "max") == set()

    def test_the_leader_is_found_over_shared_seeds(self):
        """A contender that was dropped after three easy seeds has the best mean, but not the best on these seeds."""
        dropped = {0: 0.80, 1: 0.82, 2: 0.81}
        values = frame(lead=[0.90, 0.91, 0.92, 0.5, 0.5], dropped=dropped, close=[0.90, 0.90, 0.93, 0.5, 0.51])
        assert fallen(values, "max") == {"dropped"}

    def test_a_large_lead_over_the_weakest_does_not_make_a_leader(self):
        dropped = {0: 0.85, 1: 0.86, 2: 0.86}
        values = frame(lead=[0.90, 0.92, 0.91, 0.90], dropped=dropped, uneven=[0.1, 0.2, 0.15, 0.89])
        assert fallen(values, "max") == {"dropped"}

    def test_nothing_falls_without_shared_seeds(self):
        assert fallen(frame(), "max") == set()
        assert fallen(pd.DataFrame([], columns=["cell", "seed", "value"]), "max") == set()
        assert fallen(frame(only=[1, 2]), "max") == set()
        assert fallen(frame(a={0: 1}, b={1: 2}), "max") == set()
