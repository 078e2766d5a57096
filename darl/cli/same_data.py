"""Checks that a folder's earlier runs can be compared with new ones: the same data, measured in the same way."""

import json
from collections.abc import Mapping
from dataclasses import replace

from darl.data import Dataset
from darl.data.content import DataContent, require_unchanged
from darl.experiment import Experiment
from darl.results.schema import SCHEMA_VERSION
from darl.results.tables import Results
from darl.training.checkpoint_store import CheckpointStore
from darl.variants import require

__all__ = ["require_same_data", "with_content"]


def with_content(experiment: Experiment, dataset: Dataset, results: Results) -> Experiment:
    """The experiment with the content of its loaded data; raises UserError as `require_same_data`."""
    assert dataset.content is not None
    require_same_data(results, {experiment.data: dataset.content})
    return replace(experiment, content=dataset.content)


def require_same_data(results: Results, contents: Mapping[str, DataContent]) -> None:
    """Raise UserError if the folder's rows or started trials had other data at one of these addresses.

    It also does so where an older version of darl measured the rows in another way (`SCHEMA_VERSION`).
    """
    trials = results.trials()
    oldest = min(trials["schema_version"].dropna(), default=SCHEMA_VERSION)
    remedy = f"be another: the accuracies in this folder were measured in another way (schema version {oldest:.0f})"
    require(oldest == SCHEMA_VERSION, "name", remedy, results.sweep)
    ended = [json.loads(config) for config in trials["config"]]
    started = [experiment.to_record() for experiment in CheckpointStore(results.path).started()]
    require_unchanged([*ended, *started], contents)
