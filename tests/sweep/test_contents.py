"""A sweep recognises its rows by the content of their data, not by its address."""

import json
from dataclasses import replace

import pytest

from darl.data.content import DataContent
from darl.experiment import Experiment
from darl.sweep.base import Sweep
from darl.sweep.design import Design
from darl.sweep.record import from_json, to_json
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape

CONTENT = DataContent(train=80, validation=20, classes=2, fingerprint="a" * 16)
CHANGED = replace(CONTENT, train=81)
PAPER = {"noise.a": 0.03, "noise.b": 1.0}
BASE = Experiment(data="/here", epochs=18)
DESIGN = Design(name="d", question="?", base=BASE, cells={"paper": PAPER, "other": {"noise.a": 0.5}}, seeds=2)
SEARCH = Search(name="s", question="?", base=BASE, space={"noise": BetaByShape()}, first={"paper": PAPER})
SWEEPS = [pytest.param(replace(sweep, contents={"/here": CONTENT}), id=sweep.kind) for sweep in (DESIGN, SEARCH)]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_fills_in_the_content_of_its_data(sweep: Sweep) -> None:
    assert sweep.experiment(PAPER).content == CONTENT
    assert sweep.experiment({**PAPER, "data": "/elsewhere"}).content is None
    assert replace(sweep, contents={}).experiment(PAPER).content is None


@pytest.mark.parametrize("sweep", SWEEPS)
def test_moved_data_belongs_to_the_same_cell(sweep: Sweep) -> None:
    row = sweep.experiment(PAPER, 1)
    moved = replace(row, data="s3://bucket/there")
    assert moved.trial_id == row.trial_id
    assert sweep.labels([row.to_json(), moved.to_json()]) == ["paper", "paper"]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_changed_data_belongs_to_no_cell(sweep: Sweep) -> None:
    row = replace(sweep.experiment(PAPER), content=CHANGED)
    assert row.trial_id != sweep.experiment(PAPER).trial_id
    assert sweep.labels([row.to_json()]) == [None]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_rows_without_content_are_recognised_by_address(sweep: Sweep) -> None:
    older = replace(sweep.experiment(PAPER), content=None)
    assert "content" not in json.loads(older.to_json())
    assert sweep.labels([older.to_json(), replace(older, data="/elsewhere").to_json()]) == ["paper", None]
    (known,) = sweep.experiments([older.to_json()])
    assert known == sweep.experiment(PAPER)


def test_a_search_ranks_rows_with_and_without_content() -> None:
    sweep = replace(SEARCH, contents={"/here": CONTENT})
    points = [{"noise.a": 0.1, "noise.b": 1.0}, {"noise.a": 0.2, "noise.b": 1.0}, {"noise.a": 0.3, "noise.b": 1.0}]
    older, own, other = (sweep.experiment(point) for point in points)
    rows = [
        {"config": experiment.to_json(), "status": "finished", "probe_top1": value}
        for experiment, value in (
            (replace(older, content=None), 0.5),
            (replace(own, data="/moved"), 0.6),
            (replace(other, content=CHANGED), 0.9),
        )
    ]
    assert sweep.ranked(rows) == [points[1], points[0]]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_records_hold_contents_and_older_records_are_read(sweep: Sweep) -> None:
    text = to_json([sweep])
    assert from_json(text) == [sweep]
    stages = json.loads(text)
    del stages["stages"][0]["contents"]
    assert from_json(json.dumps(stages)) == [replace(sweep, contents={})]
