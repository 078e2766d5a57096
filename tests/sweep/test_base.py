"""The methods of every kind of sweep, and that a new kind is one class."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import pytest

import darl.sweep
from darl.evaluation.protocol import Protocols
from darl.experiment import Experiment
from darl.report import html
from darl.report.figures import draw_all
from darl.report.findings import find
from darl.report.terminal import summary
from darl.sweep.base import Comparison, Sweep, arguments_of
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape, Point
from darl.variants import Record
from tests.report.example_answers import shown
from tests.report.example_trials import ORDERS, SEARCH, row
from tests.report.figures.example_figures import curves, table


@dataclass(frozen=True, kw_only=True)
class Versus(Sweep):
    """A third kind of sweep: the base against one change of it."""

    kind: ClassVar[str] = "versus"
    no_seeds: ClassVar[str] = "no seeds"
    change: Point

    @property
    def evaluate_at(self) -> Mapping[int, Protocols]:
        return {}

    @property
    def fixed_cells(self) -> Mapping[str, Point]:
        return {"base": {}, "changed": self.change}

    @property
    def varied_paths(self) -> frozenset[str]:
        return frozenset(self.change)

    def possible_trials(self) -> list[Experiment]:
        return [self.experiment(point, repeat) for point in self.fixed_cells.values() for repeat in range(self.seeds)]

    def count_ended(self, rows: Iterable[Record]) -> int:
        return len(list(rows))

    def plan_lines(self, most: int) -> list[str]:
        return ["two cells"]

    @property
    def trials_in_words(self) -> str:
        return "some trials"

    @property
    def compared_seeds(self) -> range:
        return self.all_seeds

    def comparisons(self, rows: Sequence[Record]) -> list[Comparison]:
        return [Comparison(cells=list(self.fixed_cells), baseline="base", title="Both")]

    compared_cells = 2
    whole_seeds = 2
    settings_title = "The change"

    def compared_fields(self) -> list[list[str]]:
        return [list(self.change)]

    def settings_rows(self) -> list[tuple[str, str]]:
        return [("changed", str(self.change))]

    def label(self, experiment: Experiment) -> str | None:
        for cell, point in self.fixed_cells.items():
            if experiment == self.base.changed({**point, "seed": experiment.seed}):
                return cell
        return None

    def to_record(self) -> Record:
        return self._shared() | {"change": self.change}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        return cls(**arguments_of(record))


VERSUS = Versus(name="v", question="Is it better?", base=Experiment(epochs=5), change={"order": "spiral"}, seeds=2)


def test_a_new_kind_of_sweep_is_reported_like_the_others() -> None:
    trials = table(
        [
            row(VERSUS.experiment(point, repeat), 0.5 + 0.1 * index + 0.01 * repeat * index)
            for index, point in enumerate(VERSUS.fixed_cells.values())
            for repeat in range(2)
        ]
    )
    (findings,) = find(VERSUS, trials)
    assert findings.sentence.startswith("changed leads with 60.5 % ± 6.4 (2 seeds), 10.5 points above base")
    assert "Both by linear probe" in shown(summary(findings))
    drawn = [figure.name for figure in draw_all([findings], curves(trials))]
    assert drawn == ["cells", "protocols", "orders", "learning"]
    page = html.render([findings], curves(trials), ())
    assert "The change" in page
    assert Versus.from_record(VERSUS.to_record()) == VERSUS


SEARCHED = Search(
    name="s", question="?", base=Experiment(seed=5), space={"noise": BetaByShape()}, first=SEARCH.first, seeds=4
)


@pytest.mark.parametrize(
    ("sweep", "compared", "selection", "explored"),
    [(ORDERS, [0, 1, 2], [], [0, 1, 2]), (SEARCHED, [6, 7, 8], [5], [5])],
    ids=["design", "search"],
)
def test_selection_seeds_are_not_compared(
    sweep: Sweep, compared: list[int], selection: list[int], explored: list[int]
) -> None:
    assert list(sweep.compared_seeds) == compared
    assert list(sweep.selection_seeds) == selection
    assert list(sweep.explored_seeds) == explored
    assert sweep.seeds_for(6) == 6 + len(selection)


def test_possible_trials_counts_every_trial() -> None:
    assert len(ORDERS.possible_trials()) == 9
    assert len(SEARCHED.possible_trials()) == 16 + 3 * (3 + 1)
    assert ORDERS.trials_in_words == "9 trials (3 cells, 3 seeds)"
    assert SEARCHED.trials_in_words == "16 trials, then the best on 3 fresh seeds"
    ended = [row(trial, 0.5) for trial in ORDERS.possible_trials()[:4]]
    assert ORDERS.count_ended([*ended, row(Experiment(epochs=9), 0.5)]) == 4


def test_a_race_drops_cells_that_fall_behind_except_the_baseline() -> None:
    values = [(cell, seed, mean + 0.001 * seed * slope) for cell, mean, slope in
              (("paper", 0.4, 1), ("slow", 0.4, -1), ("best", 0.6, 0)) for seed in range(6, 10)]  # fmt: skip
    search = replace(SEARCHED, baseline="paper")
    assert search.fallen_behind(values) == {"slow"}


def test_compared_fields_are_those_that_vary() -> None:
    assert ORDERS.compared_fields() == [["order"]]
    assert SEARCHED.compared_fields() == [["noise"]]
    apart = Design(
        name="d", question="?", base=Experiment(), cells={"a": {}, "b": {"model.patch_size": 4}},
        groups={"a": "one", "b": "other"},
    )  # fmt: skip
    assert apart.compared_fields() == [[], []]


def test_only_statistics_imports_pandas_at_import_time() -> None:
    (folder,) = darl.sweep.__path__
    for path in Path(folder).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
        heavy = {name for name in names if name.partition(".")[0] in ("pandas", "scipy", "statsmodels", "numpy")}
        heavy |= names & {"darl.sweep.statistics"}
        assert not heavy or path.stem in ("statistics", "early_stopping", "scaling_law"), (path.name, heavy)
