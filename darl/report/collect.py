"""The findings of all sweeps of a folder of results."""

from collections.abc import Sequence

import pandas as pd

from darl.experiment import Experiment, flatten, read_experiments
from darl.report.findings import Findings, find
from darl.results.tables import Results
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.sweep.early_stopping import verdict
from darl.sweep.record import SWEEP_FILE, from_json
from darl.sweep.search import Search
from darl.variants import Record

__all__ = ["findings_of", "stages_of"]


def stages_of(results: Results) -> list[Sweep]:
    """The sweeps that the last command in a folder of results asked for; none where it tells of none."""
    text = results.text(SWEEP_FILE)
    return [] if text is None else from_json(text)


def findings_of(
    stages: Sequence[Sweep], trials: pd.DataFrame, curves: pd.DataFrame, metric: str | None = None
) -> list[Findings]:
    """What was found by all sweeps of a folder, a design before the searches that it was made of."""
    found: list[Findings] = []
    for stage in stages:
        theirs = {trial for finding in found for trial in finding.trials["trial_id"]}
        own = trials["seed"].between(stage.base.seed, stage.base.seed + stage.seeds - 1)
        found += find(stage, trials.loc[own | ~trials["trial_id"].isin(list(theirs))], metric)
    for finding in found:
        finding.notes.extend(_on_the_way(finding, trials, curves))
    found = sorted(found, key=lambda finding: isinstance(finding.sweep, Search))
    cells = zip(*(stage.labels(trials["config"]) for stage in stages), strict=True)
    others = [config for config, own in zip(trials["config"], cells, strict=True) if all(cell is None for cell in own)]
    found[0].notes.extend([_left_out(stages, others)] if others else [])
    return found


def _left_out(stages: Sequence[Sweep], configs: list[str]) -> str:
    """A note on rows of other settings: in which fields they differ from the sweep that is nearest to each."""
    values: dict[str, set[str]] = {}
    contents = {name: content for stage in stages for name, content in stage.contents.items()}
    for experiment in read_experiments(configs, contents):
        if experiment is not None:
            for name, value in min((_apart(stage, experiment) for stage in stages), key=len).items():
                values.setdefault(name, set()).add(str(value))
    named = [
        f"{name} {next(iter(some))}" if len(some) == 1 else f"{len(some)} other values of {name}"
        for name, some in values.items()
    ]
    which = f" ({', '.join(named)}); run with those settings, the sweep reports them" if named else ""
    return f"rows of other settings lie here too, and are not counted: {len(configs)}{which}"


def _apart(stage: Sweep, experiment: Experiment) -> Record:
    """The fields, but for those that a sweep varies, in which an experiment is not like its base."""
    cells = stage.cells.values() if isinstance(stage, Design) else []
    paths = stage.space if isinstance(stage, Search) else [path for cell in cells for path in cell]
    varied = ("seed", "data", "content", *(path.replace(".", "_") for path in paths))
    base = flatten(stage.base.to_record())
    apart = {
        name: value
        for name, value in flatten(experiment.to_record()).items()
        if value != base.get(name) and not name.startswith(varied)
    }
    return apart if "data" in paths else apart | _other_data(stage.experiment({}), experiment)


def _other_data(base: Experiment, experiment: Experiment) -> Record:
    """The data of an experiment where it is not the base's: by its address, or by what it was at the same one."""
    if base.content == experiment.content and (base.content is not None or base.data == experiment.data):
        return {}
    if base.data != experiment.data:
        return {"data": experiment.data}
    return {"data": f"of other content: {experiment.content or 'not known'}"}


def _on_the_way(finding: Findings, trials: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """A search's pilot, and the answer on enlarged images where a design has measured it."""
    sweep = finding.sweep
    if isinstance(sweep, Search) and sweep.early and sweep.rungs and len(finding.trials):
        pilot = verdict(sweep, trials, curves)
        few = f"fewer than {sweep.pilot} trials have finished whole, too few for a pilot: none was stopped early"
        return [few if pilot is None else pilot.describe()]
    enlarged = "probe_top1_enlarged"
    if sweep.enlarged and finding.metric == sweep.metric and not finding.trials[enlarged].dropna().empty:
        same = [one for one in find(sweep, trials, enlarged) if set(one.table["cell"]) == set(finding.table["cell"])]
        return [f"on images 1.5 times as large: {one.sentence}" for one in same]
    return []
