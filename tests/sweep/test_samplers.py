"""The settings of samplers, and how a search's record holds them. tests/conformance holds the common contract."""

import json

import pytest

from darl.errors import UserError
from darl.experiment import Experiment
from darl.sweep.record import from_json, to_json
from darl.sweep.samplers import GaussianProcess, Random, Sampler, Tpe
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape, Choice, Space

NUMBERS: Space = {"noise": BetaByShape()}
CHOICES: Space = {"order": Choice(options={"raster": {}, "hilbert": {}})}


def search(sampler: Sampler) -> Search:
    return Search(name="test", question="?", base=Experiment(), space=NUMBERS, sampler=sampler)


def test_tpe_groups_dimensions_only_where_a_space_has_choices() -> None:
    assert Tpe().settings(NUMBERS) == {
        "multivariate": True,
        "group": False,
        "constant_liar": True,
        "n_startup_trials": 5,
    }
    assert Tpe().settings(CHOICES)["group"] is True
    assert Tpe(multivariate=False).settings(CHOICES)["group"] is False
    assert Tpe(group=False).settings(CHOICES)["group"] is False


def test_tpe_is_the_default_sampler() -> None:
    assert Search(name="test", question="?", base=Experiment(), space=NUMBERS).sampler == Tpe()


@pytest.mark.parametrize("sampler", [Tpe(startup=7, constant_liar=False), Random(), GaussianProcess(startup=3)])
def test_a_searchs_record_holds_its_sampler_as_text(sampler: Sampler) -> None:
    text = to_json([search(sampler)])
    assert json.loads(text)["stages"][0]["sampler"] == str(sampler)
    assert from_json(text) == [search(sampler)]


def test_a_record_without_a_sampler_is_read_as_tpe() -> None:
    record = json.loads(to_json([search(Random())]))
    del record["stages"][0]["sampler"]
    assert from_json(json.dumps(record)) == [search(Tpe())]


def test_invalid_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"sampler must be one of .*tpe.*, got 'cmaes'"):
        Sampler.parse("cmaes")
    with pytest.raises(UserError, match=r"sampler.startup must be at least 0, got -1"):
        Sampler.parse("tpe:startup=-1")
    with pytest.raises(UserError, match=r"sampler.startup must be at least 1, got 0"):
        Sampler.parse("gp:startup=0")
