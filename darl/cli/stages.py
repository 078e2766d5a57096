"""The stages of a sweep's command: the sweeps that a script builds, and those that are built from their results."""

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

Then = Callable[[Options, Stages, "pd.DataFrame"], Sweep | Stages]
"""Builds what runs next from the table `trials` that the stages so far have filled; an empty one before they have run.
"""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The stages of a command: those that run first, and those that are built from the trials of all before them."""

    options: Options
    first: Stages
    then: Sequence[Then]
    """Builds the later stages, one after another."""
    contents: Mapping[str, "DataContent"] = field(default_factory=dict[str, "DataContent"])
    """The content of the stages' data, by address."""

    def after(self, stages: Stages, then: Then, trials: "pd.DataFrame") -> list[Sweep]:
        """What is built from the trials of the stages so far."""
        built = then(self.options, stages, trials)
        every = [built] if isinstance(built, Sweep) else built
        return [replace(with_flags(stage, self.options.flags), contents=self.contents) for stage in every]

    def planned(self) -> list[Sweep]:
        """All stages, the later ones as planned before the others have run."""
        stages = list(self.first)
        if self.then:
            import pandas as pd

            for then in self.then:
                stages += self.after(stages, then, pd.DataFrame())
        return stages

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
