"""Trials written to files as by a sweep, and read back."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from darl.results.tables import Results, load
from tests.report.example_trials import Row

Make = Callable[..., pd.DataFrame]


@pytest.fixture(params=["load", "pandas"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A function that writes rows to files and reads them back, by this project's reader and by pandas alone."""

    def make(*rows: list[Row]) -> pd.DataFrame:
        results = Results(str(tmp_path), "orders")
        results.prepare()
        for one in (one for some in rows for one in some):
            results.add_trial(one)
        read = load if request.param == "load" or not rows else pd.read_parquet
        return read(results.trials_path)

    return make
