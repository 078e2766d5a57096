"""The findings of all sweeps of a folder of results."""

from collections.abc import Sequence

import pandas as pd

from darl.experiment import Experiment, read_experiments
from darl.metrics import ENLARGED_PROBE
from darl.records import flatten
from darl.report.adapted import on_adapted, on_learned_orders
from darl.report.deciding import on_the_split
from darl.report.findings import Findings, find
from darl.results.tables import Results
from darl.sweep.base import Sweep
from darl.sweep.early_stopping import pilot_of
from darl.sweep.record import SWEEP_FILE, from_json
from darl.variants import Record

__all__ = ["findings_of", "stages_of"]


def stages_of(results: Results) -> list[Sweep]:
    """The sweeps that the last command in a folder of results asked for; none without such a record."""
    text = results.read_text(SWEEP_FILE)
    return [] if text is None else from_json(text)


def findings_of(
    stages: Sequence[Sweep], trials: pd.DataFrame, curves: pd.DataFrame, metric: str | None = None
) -> list[Findings]:
    """The findings on all sweeps of a folder, with those of a concluding sweep (`Sweep.concludes`) first."""
    later = [stages[number:] for number in range(1, len(stages) + 1)]
    stages = [
        stage for stage, after in zip(stages, later, strict=True) if not any(each.stands_for(stage) for each in after)
    ]
    findings: list[Findings] = []
    for stage in stages:
        earlier = {trial for finding in findings for trial in finding.trials["trial_id"]}
        # earlier findings report their trials on other seeds: here they would be noted as left out
        own = trials["seed"].isin(stage.all_seeds)
        findings += find(stage, trials.loc[own | ~trials["trial_id"].isin(list(earlier))], metric)
    for finding in findings:
        finding.notes.extend(_beside_the_answer(finding, trials, curves))
    findings = sorted(findings, key=lambda finding: not finding.sweep.concludes)
    cells = zip(*(stage.labels(trials["config"]) for stage in stages), strict=True)
    others = [config for config, own in zip(trials["config"], cells, strict=True) if all(cell is None for cell in own)]
    findings[0].notes.extend([_left_out(stages, others)] if others else [])
    return findings


def _left_out(stages: Sequence[Sweep], configs: list[str]) -> str:
    """A note on rows of other settings, with the fields in which each differs from the most similar sweep."""
    values: dict[str, set[str]] = {}
    contents = {name: content for stage in stages for name, content in stage.contents.items()}
    for experiment in read_experiments(configs, contents):
        if experiment is not None:
            for name, value in min((_apart(stage, experiment) for stage in stages), key=len).items():
                values.setdefault(name, set()).add(str(value))
    named = [
        f"{name} {next(iter(others))}" if len(others) == 1 else f"{len(others)} other values of {name}"
        for name, others in values.items()
    ]
    rows, them = ("row of other settings is", "it") if len(configs) == 1 else ("rows of other settings are", "them")
    which = f" ({', '.join(named)}); run the sweep with those settings to report {them}" if named else ""
    return f"{len(configs)} {rows} left out{which}"


def _apart(stage: Sweep, experiment: Experiment) -> Record:
    """The fields in which an experiment differs from a sweep's base, except those that the sweep varies."""
    varied = ("seed", "data", "content", *(path.replace(".", "_") for path in stage.varied_paths))
    base = flatten(stage.base.to_record())
    apart = {
        name: value
        for name, value in flatten(experiment.to_record()).items()
        if value != base.get(name) and not name.startswith(varied)
    }
    return apart if "data" in stage.varied_paths else apart | _other_data(stage.experiment({}), experiment)


def _other_data(base: Experiment, experiment: Experiment) -> Record:
    """The data of an experiment, if it is not the base's: its address, or its content if only that differs."""
    if base.content == experiment.content and (base.content is not None or base.data == experiment.data):
        return {}
    if base.data != experiment.data:
        return {"data": experiment.data}
    return {"data": f"of other content: {experiment.content or 'not known'}"}


def _beside_the_answer(finding: Findings, trials: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """Notes on the images that decided, what adapts, the pilot and enlarged images, where there are any."""
    measured = [*on_the_split(finding), *on_adapted(finding), *on_learned_orders(finding)]
    return [*measured, *_on_the_pilot(finding, trials, curves), *_on_enlarged_images(finding, trials)]


def _on_the_pilot(finding: Findings, trials: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    sweep = finding.sweep
    if not sweep.stops_early or not len(finding.trials):
        return []
    if pilot := pilot_of(sweep, trials, curves):
        return [pilot.describe()]
    few = f"fewer than {sweep.pilot_trials} have run all their epochs, too few for the pilot"
    return [f"no trial was stopped early: {few}"]


def _on_enlarged_images(finding: Findings, trials: pd.DataFrame) -> list[str]:
    sweep, enlarged = finding.sweep, ENLARGED_PROBE.column
    if not sweep.enlarged or finding.metric != sweep.metric or finding.trials[enlarged].dropna().empty:
        return []
    same = [other for other in find(sweep, trials, enlarged) if other.comparison == finding.comparison]
    return [f"on images 1.5 times as large: {other.sentence}" for other in same]
