"""Every accuracy that a sweep's models have, beside its yardsticks: raw pixels, and the same models before training.

A sweep is decided by one metric. Whether its features are worth having is a question to all of them: features may be
above raw pixels in a linear probe and below them in nearest neighbours.
"""

from dataclasses import dataclass

import pandas as pd

from darl.metrics import METRICS, Metric
from darl.report.findings import Findings
from darl.sweep.statistics import means

__all__ = ["PIXELS", "UNTRAINED", "Accuracies", "accuracies"]

PIXELS, UNTRAINED = "raw pixels", "random initialisation"
"""The names of the yardsticks' rows."""


@dataclass(frozen=True, eq=False)
class Accuracies:
    """The accuracies of a comparison's cells and of its yardsticks.

    table: one row per model, in the order of the findings, the yardsticks last. For each metric the columns
    (metric's column, `mean`), `low`, `high` (95 % interval over the compared seeds; NaN without one) and `seeds`.
    """

    metrics: list[Metric]
    table: pd.DataFrame

    @property
    def cells(self) -> list[str]:
        """The models, without the yardsticks."""
        return [str(cell) for cell in self.table.index if cell not in (PIXELS, UNTRAINED)]


def accuracies(findings: Findings) -> Accuracies:
    """The means over the seeds that are compared, of finished trials; metrics without any value are left out.

    The metrics are those that a sweep may rank its trials by: kNN of 10 says nearly the same as kNN.
    """
    rows = findings.trials
    rows = rows.loc[(rows["status"] == "finished") & rows["seed"].isin(findings.sweep.compared_seeds)]
    cells = [cell for cell in findings.table["cell"] if cell in set(rows["cell"])]
    known = [metric for metric in METRICS.values() if metric.yardsticks and metric.ranks_trials]
    metrics = [metric for metric in known if metric.column in rows and rows[metric.column].notna().any()]
    leader = findings.comparison.baseline if findings.comparison.rivals else None
    parts = {metric.column: _of(rows, metric, leader).reindex([*cells, UNTRAINED, PIXELS]) for metric in metrics}
    table = pd.concat(parts, axis=1) if parts else pd.DataFrame(index=cells)
    return Accuracies(metrics, table.dropna(how="all"))


def _of(rows: pd.DataFrame, metric: Metric, leader: str | None) -> pd.DataFrame:
    """`means` of one metric, by cell and yardstick.

    Before training, cells that share a seed may share their weights: the mean of a seed's cells is one value. Beside
    rivals, whose encoders may read otherwise, it is the leader's value.
    """
    values = rows.loc[:, ["cell", "seed"]].assign(value=rows[metric.column].astype("float64")).dropna()
    parts = [means(values)]
    rows = rows if leader is None else rows.loc[rows["cell"] == leader]
    for name, column in ((UNTRAINED, metric.initial_column), (PIXELS, metric.pixels_column)):
        if column in rows:
            given = rows.loc[:, ["seed"]].assign(value=rows[column].astype("float64")).dropna()
            by_seed = given.groupby("seed")[["value"]].mean().reset_index().assign(cell=name)
            parts.append(means(by_seed.head(1) if name == PIXELS else by_seed))  # pixels have no seed
    return pd.concat([part for part in parts if len(part)]) if any(map(len, parts)) else parts[0]
