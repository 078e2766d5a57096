"""The stages of a sweep's command: the sweeps that a script builds, and one that is built from their results."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from darl.cli.flags import Options
from darl.sweep.base import Sweep
from darl.sweep.samplers import Sampler

if TYPE_CHECKING:
    import pandas as pd

    from darl.data import DataContent

__all__ = ["Pipeline", "Stages", "Then", "with_flags"]

Stages = Sequence[Sweep]

Then = Callable[[Options, Stages, "pd.DataFrame"], Sweep]
"""Builds one more sweep from the table `trials` that the others have filled; from an empty one before they have run."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The stages of a command: those that run first, and one that is built from their trials."""

    options: Options
    first: Stages
    then: Then | None
    contents: Mapping[str, "DataContent"] = field(default_factory=dict[str, "DataContent"])
    """The content of the stages' data, by address."""

    def last(self, trials: "pd.DataFrame") -> list[Sweep]:
        """The stage that is built from the others' trials, if there is one."""
        if self.then is None:
            return []
        stage = with_flags(self.then(self.options, self.first, trials), self.options.flags)
        return [replace(stage, contents=self.contents)]

    def planned(self) -> list[Sweep]:
        """All stages, the last one as planned before the others have run."""
        if self.then is None:
            return list(self.first)
        import pandas as pd

        return [*self.first, *self.last(pd.DataFrame())]

    def knowing(self, contents: Mapping[str, "DataContent"]) -> "Pipeline":
        """The same stages with the content of their data."""
        first = [replace(stage, contents=contents) for stage in self.first]
        return replace(self, first=first, contents=contents)


def with_flags(sweep: Sweep, flags: argparse.Namespace) -> Sweep:
    """The sweep with those of the flags that all scripts share which were given; the rest is the script's."""
    given = {"name": flags.name, "metric": flags.objective_metric, "evaluations": flags.evaluations,
             "protocols": flags.protocols}  # fmt: skip
    sampler = Sampler.parse(flags.sampler) if flags.sampler and sweep.searched_space else None
    changes = {**given, "sampler": sampler}
    sweep = replace(sweep, **{name: value for name, value in changes.items() if value is not None})
    return sweep.without_early_stopping() if flags.no_early_stopping else sweep
