"""From events to rows: the one way in which an attempt at a trial comes into the tables.

Sweeps and `darl pretrain` hand over the evaluations of an attempt that has ended, and how it ended.
"""

# pandas comes without types: what it returns is unknown, and only that is let pass.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from darl.experiment import Experiment
from darl.results.rows import curve_row, image_flops, now, provenance, trial_row
from darl.results.tables import Results
from darl.training.parallel import Workers

__all__ = ["TrialRecorder", "attempts_of"]


def attempts_of(trials: pd.DataFrame) -> Counter[str]:
    """The number of each trial's last attempt, from the table of trials."""
    last = trials.sort_values("attempt")
    return Counter(dict(zip(last["trial_id"], map(int, last["attempt"]), strict=True)))


class TrialRecorder:
    """Writes an attempt's curve, and then its row: a trial with a row has its curve too.

    Args:
        results: the tables.
        workers: over which every trial is spread out.
        attempts: each trial's attempts so far; counted on here.

    """

    def __init__(self, results: Results, workers: Workers, attempts: Counter[str]):
        self.results, self.workers, self.attempts = results, workers, attempts
        self.provenance = provenance()

    def record(
        self,
        experiment: Experiment,
        evaluations: Sequence[Mapping[str, Any]],
        *,
        status: str,
        started_at: datetime,
        error: str | None = None,
        host: str | None = None,
    ) -> dict[str, Any]:
        """Write what an attempt that has ended gave; returns its row. Raises TableWriteError.

        Args:
            experiment: what ran.
            evaluations: the fields of its `Evaluated` events, oldest first.
            status: finished, stopped or failed.
            started_at: of this process; an attempt that went on from a checkpoint started so long ago as it has run.
            error: type and message of what ended it.
            host: where it ran, if not here.

        """
        key = experiment.trial_id
        self.attempts[key] += 1
        ran = timedelta(seconds=evaluations[-1]["seconds"] if evaluations else 0.0)
        row = trial_row(
            experiment,
            evaluations,
            status=status,
            attempt=self.attempts[key],
            started_at=min(started_at, now() - ran),
            workers=self.workers.count,
            device=self.workers.device,
            flops=image_flops(experiment.changed({"seed": 0})),
            error=error,
        )
        row |= {**self.provenance, "host": host or self.provenance["host"]}
        self.results.add_curve(key, self.attempts[key], [curve_row(event) for event in evaluations])
        self.results.add_trial(row)
        return row
