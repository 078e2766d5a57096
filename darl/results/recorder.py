"""The recorder: the only code that adds an attempt at a trial to the result tables.

Sweeps and `darl pretrain` pass it the evaluations of an attempt that has ended, and how the attempt ended.
"""

# pandas has no types: reports about the unknown types of what it returns are switched off, no others.
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
    """The number of each trial's last attempt, by trial id, from the table of trials."""
    last = trials.sort_values("attempt")
    return Counter(dict(zip(last["trial_id"], map(int, last["attempt"]), strict=True)))


class TrialRecorder:
    """Writes an attempt's curve before its row, so that every trial with a row has a curve.

    Args:
        results: the tables.
        workers: the workers that each trial runs on.
        attempts: the number of each trial's last attempt (`attempts_of`); `record` counts on in it.

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
        """Write the curve and the row of an attempt that has ended; returns the row. Raises TableWriteError.

        Args:
            experiment: the attempt's experiment.
            evaluations: the fields of its `Evaluated` events, oldest first.
            status: finished, stopped or failed.
            started_at: when the process started it; a resumed attempt is dated back by the seconds that it has run.
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
            flops=image_flops(experiment),
            error=error,
        )
        row |= {**self.provenance, "host": host or self.provenance["host"]}
        self.results.add_curve(key, self.attempts[key], [curve_row(event) for event in evaluations])
        self.results.add_trial(row)
        return row
