"""Which protocols a sweep's evaluations have, and how its record keeps them."""

import json
from typing import Any

import pytest

from darl.errors import UserError
from darl.evaluation.finetune import FinetuneProtocol
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.protocol import Protocols
from darl.evaluation.standard import standard_evaluation
from darl.experiment import Experiment
from darl.sweep.design import Design
from darl.sweep.record import from_json, to_json
from darl.sweep.search import Search
from darl.sweep.space import LogUniform


def design(**changes: Any) -> Design:
    return Design(**{"name": "s", "question": "?", "base": Experiment(), "cells": {"one": {}}, **changes})


def search(**changes: Any) -> Search:
    space = {"learning_rate": LogUniform(low=1e-4, high=1e-2)}
    return Search(**{"name": "s", "question": "?", "base": Experiment(), "space": space, **changes})


def test_without_protocols_the_deciding_metric_is_measured_beside_the_standard_ones() -> None:
    assert design().full == standard_evaluation()
    assert design(metric="finetune_top1").full.members == (*standard_evaluation().members, FinetuneProtocol())
    enlarged = design(metric="attentive_top1", enlarged=True).full
    assert enlarged.members[0].enlarged  # type: ignore[attr-defined]


def test_evaluations_on_the_way_train_no_model() -> None:
    own = design(protocols="knn,finetune:epochs=3", metric="finetune_top1", evaluations=3)
    assert own.full == Protocols((KnnProtocol(), FinetuneProtocol(epochs="3")))
    assert set(own.evaluate_at.values()) == {Protocols((KnnProtocol(),))}
    assert len(own.evaluate_at) == 2
    assert design(protocols="finetune", metric="finetune_top1", evaluations=3).evaluate_at == {}
    assert set(search(metric="finetune_top1").rungs.values()) == {"knn_top1"}
    assert list(search(metric="attentive_top1").rungs.values()) == ["knn_top1", "attentive_top1"]
    rungs = search(metric="attentive_top1", protocols="attentive:epochs=5").evaluate_at
    assert [str(evaluation) for evaluation in rungs.values()][1].startswith("attentive:block=last,mask=kept,epochs=5")


def test_protocols_that_do_not_measure_the_deciding_metric_are_refused() -> None:
    message = r"^protocols must measure the deciding metric finetune_top1: add finetune, got 'knn'$"
    with pytest.raises(UserError, match=message):
        design(protocols="knn", metric="finetune_top1")


@pytest.mark.parametrize("sweep", [design(protocols="linear,knn"), search(protocols="linear,knn")])
def test_the_record_keeps_them_and_older_records_have_none(sweep: Any) -> None:
    assert from_json(to_json([sweep])) == [sweep]
    older = json.loads(to_json([sweep]))
    del older["stages"][0]["protocols"]
    (read,) = from_json(json.dumps(older))
    assert read.full == standard_evaluation()
