"""Statistics over few seeds: pure functions of frames with the columns `cell`, `seed` and `value`.

A cell is a set of trials that differ only in their seed. Seeds are paired: cells that share a seed share
initialisation, data order and probe split, so cells are compared by their differences on common seeds. Intervals are
Student's t at 95 %: with three seeds, bootstraps cover 70 to 73 %. Values that are all equal (an accuracy is a count of
images, so this happens) give no estimate of their spread, and have no interval.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

__all__ = ["FEWEST", "Kendall", "detectable", "differences", "fallen", "kendall", "means", "seed_sd", "values_frame"]

FEWEST = 6
"""Paired seeds below which no difference is called significant: even five differences of the same sign may be chance
with p > 0.05 (sign test)."""


def means(values: pd.DataFrame) -> pd.DataFrame:
    """By cell: `mean` over its seeds, its interval `low` to `high` (NaN without one), and `seeds`."""
    rows = {cell: _interval(wide.dropna().to_numpy()) for cell, wide in _wide(values).items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high", "seeds"])
    return table.astype({"seeds": int}).rename_axis("cell")


def differences(values: pd.DataFrame, baseline: str, mode: str) -> pd.DataFrame:
    """For each other cell: how it differs from the baseline over the seeds that both have.

    Columns: `difference` (cell minus baseline) from `difference_low` to `difference_high`, `pairs`, two-sided `p`,
    `p_holm` (corrected for the number of cells that have a p), and `verdict`: `better` or `worse` (by `mode`, `max` or
    `min`) where at least `FEWEST` seeds make p_holm < 0.05; else `inconclusive`, or `one seed`.
    """
    rows = {cell: (*_interval(pairs), _two_sided(pairs)) for cell, pairs in _paired(values, baseline).items()}
    names = ["difference", "difference_low", "difference_high", "pairs", "p"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names).astype({"pairs": int}).rename_axis("cell")
    tested = table["p"].notna()
    table["p_holm"] = math.nan
    if any(tested):
        table.loc[tested, "p_holm"] = multipletests(table.loc[tested, "p"], method="holm")[1]
    gains = table["difference"] * (1 if mode == "max" else -1)
    columns = (table["pairs"], table["p_holm"], gains)
    table["verdict"] = pd.Series([_verdict(*row) for row in zip(*columns, strict=True)], table.index, dtype="str")
    return table


def seed_sd(values: pd.DataFrame, baseline: str) -> float | None:
    """The standard deviation of paired differences to the baseline, pooled over cells; None without any spread."""
    sets = [pairs for pairs in _paired(values, baseline).values() if len(pairs) > 1 and _varies(pairs)]
    freedom = sum(len(pairs) - 1 for pairs in sets)
    return math.sqrt(sum(np.var(pairs) * len(pairs) for pairs in sets) / freedom) if freedom else None


def detectable(seeds: int, sd: float, comparisons: int, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest paired difference that a design detects with probability `power`; None for one seed.

    The test is a two-sided paired t test of differences with standard deviation `sd`, at level alpha / `comparisons`:
    the first step of Holm's procedure.
    """
    if seeds < 2:
        return None
    # One-sided at half the level leaves out significance of the wrong sign, which is negligible; the two-sided power
    # is NaN over wide ranges with few seeds, and solving for it silently gives wrong numbers.
    level = alpha / max(comparisons, 1) / 2
    return sd * float(TTestPower().solve_power(nobs=seeds, alpha=level, power=power, alternative="larger"))


@dataclass(frozen=True)
class Kendall:
    """How well one ranking predicts another: tau-b, its 95 % interval from `low` to `high`, and the number of pairs."""

    tau: float
    low: float
    high: float
    n: int

    @property
    def predicts(self) -> bool:
        """Whether tau is at least 0.5 and its interval lies above zero."""
        return self.tau >= 0.5 and self.low > 0


def kendall(early: Sequence[float], final: Sequence[float], resamples: int = 2000) -> Kendall:
    """Kendall's tau-b of two scores of the same trials, with a percentile bootstrap interval.

    The same scores give the same interval. A resample that repeats a single trial has no order and counts as tau 0:
    left out, three trials in the same order would look certain. NaN for fewer than two pairs, or without variation.
    """
    scores = np.column_stack([np.asarray(early, float), np.asarray(final, float)])
    scores = scores[~np.isnan(scores).any(axis=1)]
    scores = scores[np.lexsort(scores.T)]  # independent of the order in which trials ended
    n = len(scores)
    if n < 2 or not _varies(scores[:, 0]) or not _varies(scores[:, 1]):
        return Kendall(math.nan, math.nan, math.nan, n)
    orders = np.sign(scores[:, None, :] - scores[None, :, :])
    draws = np.random.default_rng(0).integers(n, size=(resamples, n))
    low, high = np.percentile([_tau(orders[np.ix_(draw, draw)]) for draw in draws], [2.5, 97.5])
    tau: Any = stats.kendalltau(*scores.T)
    return Kendall(float(tau.statistic), float(low), float(high), n)


def values_frame(values: Iterable[tuple[str, int, float]]) -> pd.DataFrame:
    """A frame of cells, seeds and values, as this module's functions take it."""
    return pd.DataFrame(list(values), columns=["cell", "seed", "value"])


def fallen(values: pd.DataFrame, mode: str) -> set[str]:
    """The cells of a race that are behind its leader: a one-sided paired t test at 5 %, over at least three seeds.

    The level is divided by the number of cells (Bonferroni), but not by the number of tests that a race makes, one
    after every seed: this test saves trials, and is not the report's verdict. The leader is the cell whose mean is best
    over the seeds that it shares with each other cell.
    """
    signed = values.assign(value=values["value"] * (1 if mode == "max" else -1))
    signed = signed.sort_values(["cell", "seed"])  # equal leaders: the same one in any order of rows
    wide = _wide(signed)
    if wide.shape[1] < 2:
        return set()
    leads = {cell: wide.drop(columns=cell).rsub(wide[cell], axis=0).mean().min() for cell in wide}
    leader = max(leads, key=lambda cell: -math.inf if math.isnan(leads[cell]) else leads[cell])
    behind = _paired(signed, leader)
    level = 2 * 0.05 / max(1, len(behind))
    return {cell for cell, pairs in behind.items() if len(pairs) > 2 and pairs.mean() < 0 and _two_sided(pairs) < level}


def _wide(values: pd.DataFrame) -> pd.DataFrame:
    """One column per cell, in the order of their first rows; one row per seed."""
    return values.pivot_table(index="seed", columns="cell", values="value", sort=False)


def _paired(values: pd.DataFrame, baseline: str) -> dict[str, np.ndarray]:
    """Every other cell's differences to the baseline, over common seeds; empty without the baseline."""
    wide = _wide(values)
    if baseline not in wide:
        wide[baseline] = math.nan
    apart = wide.drop(columns=baseline).sub(wide[baseline], axis=0)
    return {str(cell): pairs.dropna().to_numpy() for cell, pairs in apart.items()}


def _interval(sample: np.ndarray) -> tuple[float, float, float, int]:
    """Mean, 95 % t interval, and size."""
    if len(sample) == 0:
        return math.nan, math.nan, math.nan, 0
    if len(sample) == 1 or not _varies(sample):
        return float(sample.mean()), math.nan, math.nan, len(sample)
    low, high = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    return float(sample.mean()), float(low), float(high), len(sample)


def _two_sided(pairs: np.ndarray) -> float:
    """The p of a paired t test; of the sign test if all differences are equal, where t is not defined."""
    if len(pairs) < 2:
        return math.nan
    if _varies(pairs):
        test: Any = stats.ttest_1samp(pairs, 0)
        return float(test.pvalue)
    return 1.0 if math.isclose(pairs[0], 0, abs_tol=1e-12) else float(stats.binomtest(0, len(pairs)).pvalue)


def _varies(sample: np.ndarray) -> bool:
    """Whether values differ by more than rounding."""
    return float(np.ptp(sample)) > 1e-12 * max(1.0, float(np.abs(sample).max()))


def _verdict(pairs: int, p_holm: float, gain: float) -> str:
    if pairs == 1:
        return "one seed"
    if pairs < FEWEST or not p_holm < 0.05:
        return "inconclusive"
    return "better" if gain > 0 else "worse"


def _tau(orders: np.ndarray) -> float:
    """Tau-b from the signs of all differences, (n, n, 2); 0 if all signs of one score are zero."""
    first, second = orders[..., 0], orders[..., 1]
    size = math.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size else 0.0
