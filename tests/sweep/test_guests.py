"""Guests of a search: points outside its space that run in the race alone."""

from typing import Any

import pytest

from darl.errors import UserError
from darl.experiment import Experiment
from darl.sweep.record import from_json, to_json
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape

PAPER = {"noise.a": 0.03, "noise.b": 1.0}
GUEST = {"noise": "infonoise"}


def search(**changes: Any) -> Search:
    base = {"name": "s", "question": "?", "base": Experiment(), "space": {"noise": BetaByShape()}, "seeds": 3}
    return Search(**{**base, "first": {"paper": PAPER}, "guests": {"infonoise": GUEST}, **changes})


def row(sweep: Search, point: dict[str, Any], value: float, repeat: int = 0) -> dict[str, Any]:
    return {"status": "finished", "config": sweep.experiment(point, repeat).to_json(), "probe_top1": value}


def test_a_guest_races_but_is_not_searched() -> None:
    sweep, sampled = search(), {"noise.a": 0.2, "noise.b": 2.0}
    assert sweep.racing([]) == []
    assert sweep.racing([row(sweep, sampled, 0.5)]) == [PAPER, GUEST, sampled]
    assert sweep.ranked([row(sweep, GUEST, 0.9), row(sweep, sampled, 0.5)]) == [sampled]
    assert sweep.compared_cells == sweep.contenders + 2


def test_a_guest_has_its_label_on_fresh_seeds() -> None:
    sweep = search()
    assert sweep.labels([sweep.experiment(GUEST, repeat).to_json() for repeat in range(3)]) == [
        None,
        *["infonoise"] * 2,
    ]
    assert sweep.point_of(sweep.experiment(GUEST, 1)) == GUEST
    assert search(guests={}).label(sweep.experiment(GUEST, 1)) is None


def test_a_guest_changes_neither_the_record_of_others_nor_their_plan() -> None:
    assert from_json(to_json([search()])) == [search()]
    old = search(guests={}).to_record()
    del old["guests"]  # as written by a version without guests
    assert Search.from_record(old) == search(guests={})
    lines = search().plan_lines(9)
    assert "  in the race: infonoise: noise=infonoise" in lines
    assert [line for line in lines if "in the race: " not in line] == search(guests={}).plan_lines(9)
    assert not any("infonoise" in line for line in search(seeds=1).plan_lines(9))


def test_a_guest_must_not_take_the_name_of_a_known_point() -> None:
    with pytest.raises(UserError, match=r"^guests must have other labels than the first points, got 'paper'$"):
        search(guests={"paper": GUEST})
