"""A folder of results."""

from pathlib import Path

import pytest

from darl.results.tables import Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(str(tmp_path / "results"), "noise")
    results.prepare()
    return results
