"""Claims of a paper, and what tables of trials say of each.

A claim names two settings, or one and several rivals, by columns of the tables. Its evidence are finished trials that
differ in these columns and their seed alone, so each such group is one scale (data, model, length), and gives a verdict
of its own:

    confirmed      the setting is better than every rival: at least six seeds, Holm's p below 0.05; with a margin, no
                   rival is better by more than it: the 95 % interval of every difference lies within
    contradicted   the same the other way round, for one rival
    not decided    neither; with the number of seeds that a difference as large as this one would take
"""

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from darl.errors import UserError
from darl.experiment import Experiment, read_experiments
from darl.metrics import METRICS, PROBE
from darl.records import flatten
from darl.report.accuracies import UNTRAINED
from darl.sweep.statistics import FEWEST, detectable, differences, seed_sd, values_frame
from darl.variants import require

__all__ = ["Claim", "Difference", "Evidence", "evidence", "read_claims"]

FAMILIES = ("noise", "objective", "order", "position", "random_order", "tokenizer")
"""Columns of a variant's kind; its options' columns begin with them."""

MOST = 10_000
"""Seeds up to which the number that a difference takes is sought."""

Settings = Mapping[str, Any]
"""Values by column, as `noise_a`; "" where the trial has none, as `token_input` of a model that reads pixels."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One finding of a paper. Raises UserError for values that cannot be used."""

    text: str
    """The finding, as a sentence."""
    sweep: str
    """The script that runs its trials, with flags where it needs some."""
    better: Settings
    """The setting that is claimed to be better, or as good."""
    than: Sequence[Settings] = ()
    """Its rivals."""
    untrained: bool = False
    """Whether the same model before training is a rival, too."""
    metric: str = PROBE.column
    margin: float = 0.0
    """0: `better` is better. Above: no rival is better by more than this, in the metric's unit of the tables."""
    when: Settings | None = None
    """What all trials of the evidence have."""
    also: Sequence[str] = ()
    """Further columns in which the settings may differ, as `noise` where an objective has none."""

    def __post_init__(self) -> None:
        require(self.metric in METRICS, "metric", f"be one of {', '.join(METRICS)}", self.metric)
        require(self.margin >= 0, "margin", "be 0 or more", self.margin)
        require(bool(self.better), "better", "have a column", dict(self.better))
        require(len(self.than) + self.untrained > 0, "than", "be one setting or more", list(self.than))
        yardsticks = METRICS[self.metric].yardsticks or not self.untrained
        require(yardsticks, "metric", "be measured before training, too", self.metric)

    @property
    def rivals(self) -> int:
        """Number of rivals."""
        return len(self.than) + self.untrained

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """From an entry of a file of claims."""
        try:
            return cls(**record)
        except TypeError as error:
            raise UserError(f"must have the fields of a claim, got {record.get('text', record)!r} ({error})") from None

    def varies(self, column: str) -> bool:
        """Whether the settings may differ in a column."""
        own = {name for settings in (self.better, *self.than) for name in settings} | set(self.also)
        families = {family for family in FAMILIES for name in own if name == family or name.startswith(f"{family}_")}
        return column in own or any(column == each or column.startswith(f"{each}_") for each in families)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How the claim's setting differs from one rival: positive where the setting is better."""

    rival: str
    mean: float
    low: float
    """NaN without an interval."""
    high: float
    pairs: int
    """Seeds that both have."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one group of trials says of a claim."""

    claim: Claim
    experiment: Experiment
    """One of its trials: the data, the model and the length."""
    differences: Sequence[Difference]
    verdict: str
    seeds_needed: int | None
    """Seeds that the smallest difference would take; None where it is decided, a rival is missing, or all are equal."""


def read_claims(text: str) -> list[Claim]:
    """The claims of a TOML file, `[[claim]]` each. Raises UserError."""
    try:
        entries: Any = tomllib.loads(text).get("claim")
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"must be TOML, got an error: {error}", field="claims") from None
    listed = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries) and len(entries) > 0
    require(listed, "claims", "have [[claim]] entries", text[:80])
    return [Claim.of(entry) for entry in entries]


def evidence(claim: Claim, trials: pd.DataFrame) -> list[Evidence]:
    """What a table of trials says of a claim: one entry for each scale, most seeds first; none without pairs."""
    found = [each for rows in _scales(claim, trials) if (each := _judged(claim, rows)) is not None]
    return sorted(found, key=lambda each: -min(difference.pairs for difference in each.differences))


_Row = tuple[str, int, float, Experiment]
"""Cell, seed, value, experiment."""

SETTING = "the setting"
"""The cell of the claim's setting; rivals have theirs in words."""


def _scales(claim: Claim, trials: pd.DataFrame) -> Iterator[list[_Row]]:
    """The rows of the claim's settings, in groups that differ in nothing else."""
    if trials.empty or claim.metric not in trials:
        return
    rows = trials.loc[(trials["status"] == "finished") & trials[claim.metric].notna()]
    versions = rows["schema_version"] if "schema_version" in rows else [0] * len(rows)
    initial = METRICS[claim.metric].initial_column
    before = rows[initial].astype("float64").tolist() if claim.untrained and initial in rows else [math.nan] * len(rows)
    groups: dict[tuple[Any, ...], list[_Row]] = {}
    every = zip(read_experiments(rows["config"], {}), rows[claim.metric], before, versions, strict=True)
    for experiment, value, untrained, version in every:
        flat = {} if experiment is None else flatten(experiment.to_record())
        cell = _cell(claim, flat) if _has(flat, claim.when or {}) else None
        if experiment is None or cell is None:
            continue
        rest = {name: each for name, each in flat.items() if name != "seed" and not claim.varies(name)}
        group = groups.setdefault((version, *sorted((name, str(each)) for name, each in rest.items())), [])
        group.append((cell, experiment.seed, float(value), experiment))
        if cell == SETTING and not math.isnan(untrained):
            group.append((UNTRAINED, experiment.seed, untrained, experiment))
    yield from groups.values()


def _cell(claim: Claim, flat: Settings) -> str | None:
    """`SETTING`, or the rival in words; None for a trial of another setting."""
    if _has(flat, claim.better):
        return SETTING
    return next((in_words(rival) for rival in claim.than if _has(flat, rival)), None)


def _has(flat: Settings, settings: Settings) -> bool:
    return all(flat.get(name) == (None if value == "" else value) for name, value in settings.items())


def in_words(settings: Settings) -> str:
    """`noise beta, a 1, b 1`: an option without the name of what it belongs to; `tokenizer none`."""
    parts: list[str] = []
    for name, value in settings.items():
        family = next((each for each in FAMILIES if name.startswith(f"{each}_") and each in settings), None)
        shown = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
        shown = shown or "none"
        parts.append(f"{name.removeprefix(f'{family}_') if family else name} {shown}")
    return ", ".join(parts)


def _judged(claim: Claim, rows: list[_Row]) -> Evidence | None:
    """The verdict of one group; None where the setting or all rivals are missing."""
    values = values_frame((cell, seed, value) for cell, seed, value, _ in rows)
    if SETTING not in set(values["cell"]):
        return None
    metric = METRICS[claim.metric]
    table = differences(values, SETTING, metric.direction)
    table = table.loc[table["pairs"] > 0]
    if table.empty:
        return None
    sign = -1 if metric.higher_is_better else 1  # the table has rival minus setting
    found = [
        Difference(
            rival=str(cell), mean=sign * row["difference"], pairs=int(row["pairs"]),
            low=min(sign * row["difference_low"], sign * row["difference_high"]),
            high=max(sign * row["difference_low"], sign * row["difference_high"]),
        )
        for cell, row in table.iterrows()
    ]  # fmt: skip
    complete = len(found) == claim.rivals
    verdict = _within(claim, found, complete) if claim.margin else _better(list(table["verdict"]), complete)
    open_to_seeds = complete and verdict == "not decided"
    needed = _needed(claim, found, seed_sd(values, SETTING)) if open_to_seeds else None
    return Evidence(claim=claim, experiment=rows[0][3], differences=found, verdict=verdict, seeds_needed=needed)


def _better(verdicts: Sequence[str], complete: bool) -> str:
    """verdicts: on the rivals, against the setting."""
    if "better" in verdicts:
        return "contradicted"
    return "confirmed" if complete and set(verdicts) == {"worse"} else "not decided"


def _within(claim: Claim, found: Sequence[Difference], complete: bool) -> str:
    enough = [each for each in found if each.pairs >= FEWEST]
    if any(each.high < -claim.margin for each in enough):
        return "contradicted"
    inside = complete and len(enough) == len(found) and all(each.low > -claim.margin for each in found)
    return "confirmed" if inside else "not decided"


def _needed(claim: Claim, found: Sequence[Difference], sd: float | None) -> int | None:
    """Seeds that would decide the difference which is nearest to the border, with a power of 80 %."""
    nearest = min(abs(each.mean + claim.margin) for each in found)
    if not sd or not nearest:
        return None
    low, high = FEWEST, MOST
    if _detected(high, sd, len(found)) > nearest:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _detected(middle, sd, len(found)) <= nearest else (middle + 1, high)
    return low


def _detected(seeds: int, sd: float, comparisons: int) -> float:
    found = detectable(seeds, sd, comparisons)
    assert found is not None
    return found
