"""A check that data has not changed since the runs in a folder of results were trained on it."""

import json
from collections.abc import Mapping
from dataclasses import replace

from darl.data import Dataset
from darl.data.content import DataContent, require_unchanged
from darl.experiment import Experiment
from darl.results.tables import Results
from darl.training.checkpoint_store import CheckpointStore

__all__ = ["require_same_data", "with_content"]


def with_content(experiment: Experiment, dataset: Dataset, results: Results) -> Experiment:
    """The experiment with the content of its loaded data; raises UserError as `require_same_data`."""
    assert dataset.content is not None
    require_same_data(results, {experiment.data: dataset.content})
    return replace(experiment, content=dataset.content)


def require_same_data(results: Results, contents: Mapping[str, DataContent]) -> None:
    """Raise UserError if the folder's rows or started trials had other data at one of these addresses."""
    ended = [json.loads(config) for config in results.trials()["config"]]
    started = [experiment.to_record() for experiment in CheckpointStore(results.path).started()]
    require_unchanged([*ended, *started], contents)
