"""The record of a folder's sweeps: `sweep.json`."""

import json
from collections.abc import Iterable, Mapping

from darl.errors import UserError
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.sweep.scaling import Scaling
from darl.sweep.search import Search
from darl.sweep.yardsticks import Yardsticks

__all__ = ["SWEEP_FILE", "from_json", "to_json"]

KINDS: Mapping[str, type[Sweep]] = {kind.kind: kind for kind in (Design, Search, Yardsticks, Scaling)}
"""The kinds of sweeps, by name."""

SWEEP_FILE = "sweep.json"
"""The file in RESULTS/SWEEP that records what the last command there asked for, as `to_json` writes it."""


def to_json(stages: Iterable[Sweep]) -> str:
    """The sweeps of one folder, in the order in which they run."""
    return json.dumps({"version": 1, "stages": [stage.to_record() for stage in stages]}, indent=1)


def from_json(text: str) -> list[Sweep]:
    """The inverse of `to_json`; raises UserError for a record of another version, or of variants not defined here."""
    try:
        return [KINDS[stage["kind"]].from_record(stage) for stage in json.loads(text)["stages"]]
    except UserError as error:
        remedy = "run the script that defines it, asking for the report"
        raise UserError(f"{SWEEP_FILE} must name only what is defined here: {error}; {remedy}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{SWEEP_FILE} must be of this version of darl, got {error!r}; run the sweep again") from None
