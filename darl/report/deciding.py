"""Notes on the images that decided, and the leader's final figure on a test split that decided nothing."""

import pandas as pd

from darl.data.dataset import HELD_OUT, VALIDATION
from darl.metrics import METRICS
from darl.report.findings import Findings
from darl.report.format import measured
from darl.sweep.statistics import means
from darl.sweep.wording import several

__all__ = ["on_the_split"]

DECIDED = {
    VALIDATION: "decided on the {validation:,} images of the validation split",
    HELD_OUT: "decided on {validation:,} images held out of the training split",
}

TEST = "; the test split's {test:,} images gave each finished trial's final figures, and decided nothing"


def on_the_split(finding: Findings) -> list[str]:
    """The notes: one for each data set, and one on the leader; none for rows of versions that did not say it."""
    rows = finding.trials
    needed = ["split", "content_validation", "content_test"]
    if not set(needed) <= set(rows):
        return []
    notes: list[str] = []
    for row in rows.dropna(subset=needed[:2]).drop_duplicates(needed).to_dict("records"):
        text = DECIDED.get(row["split"], "decided on {validation:,} images: " + str(row["split"]))
        text += "" if pd.isna(row["content_test"]) else TEST
        test = 0 if pd.isna(row["content_test"]) else int(row["content_test"])
        notes.append(text.format(validation=int(row["content_validation"]), test=test))
    return list(dict.fromkeys(notes)) + _final(finding)


def _final(finding: Findings) -> list[str]:
    """The mean of the leader's finished trials on the test split, by the metric of the ranking or its stand-in."""
    metric = METRICS[finding.metric]
    metric = metric if metric.tested else METRICS[metric.gain_by or "probe_top1"]
    has_mean = len(finding.table) > 0 and bool((finding.table["seeds"] > 0).any())  # else the search alone is judged
    ranked = finding.table.loc[finding.table["seeds"] > 0] if has_mean else finding.found
    if metric.test_column not in finding.trials or ranked.empty:
        return []
    leader, sweep, rows = str(ranked["cell"].iloc[0]), finding.sweep, finding.trials
    seeds = sweep.compared_seeds if has_mean else sweep.selection_seeds
    own = rows.loc[(rows["cell"] == leader) & (rows["status"] == "finished") & rows["seed"].isin(seeds)]
    values = own.assign(value=own[metric.test_column].astype("float64"))[["cell", "seed", "value"]].dropna()
    if values.empty:
        return []
    mean = means(values).iloc[0]
    count = several(int(mean["seeds"]), sweep.seed_noun if has_mean else "seeds")
    return [f"on the test split {leader} has {measured(mean, metric.column)} by {metric.name} ({count})"]
