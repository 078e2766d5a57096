"""Claims of a paper: which trials are their evidence, and when it is enough."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from darl.errors import UserError
from darl.experiment import Experiment, columns
from darl.model.noise import Beta
from darl.model.objectives.mse import Mse
from darl.model.tokenizers.dvae import Dvae
from darl.report.claims import Claim, Evidence, evidence, read_claims
from darl.report.reproduction import markdown

CLAIMS = Path(__file__).parents[2] / "sweeps" / "claims.toml"
BETTER: Mapping[str, Any] = {"noise": "beta", "noise_a": 0.03, "noise_b": 1.0}
UNIFORM: Mapping[str, Any] = {"noise": "beta", "noise_a": 1.0, "noise_b": 1.0}
CLAIM = Claim(text="noisier is better", sweep="noise_schedule.py", better=BETTER, than=[UNIFORM])
SPREAD = (0.0, 0.002, -0.002, 0.001, -0.001, 0.003, -0.003, 0.0)


def trials(a: float, mean: float, seeds: int = 8, **changes: Any) -> pd.DataFrame:
    """Finished trials of the schedule Beta(a, 1), whose probes vary by up to 0.6 points."""
    base = Experiment().changed({"noise": Beta(a=a, b=1.0), **changes})
    rows = [
        {
            "sweep": "noise_schedule", "status": "finished", "schema_version": 2, "seed": seed,
            "config": base.changed({"seed": seed}).to_json(),
            "probe_top1": mean + SPREAD[seed] * (1 + a), "init_probe_top1": 0.3 + SPREAD[seed],
        }
        for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def only(claim: Claim, *parts: pd.DataFrame) -> Evidence:
    (found,) = evidence(claim, pd.concat(parts))
    return found


def test_a_difference_that_seeds_share_is_confirmed_or_contradicted() -> None:
    found = only(CLAIM, trials(0.03, 0.9), trials(1.0, 0.88))
    assert (found.verdict, found.seeds_needed) == ("confirmed", None)
    (difference,) = found.differences
    assert difference.mean == pytest.approx(0.02)
    assert (difference.rival, difference.pairs) == ("noise beta, a 1, b 1", 8)
    assert difference.low < difference.mean < difference.high
    assert only(CLAIM, trials(0.03, 0.86), trials(1.0, 0.88)).verdict == "contradicted"


def test_few_seeds_or_small_differences_decide_nothing_and_say_what_would() -> None:
    assert only(CLAIM, trials(0.03, 0.9, 5), trials(1.0, 0.88, 5)).verdict == "not decided"
    small = only(CLAIM, trials(0.03, 0.8805), trials(1.0, 0.88))
    assert small.verdict == "not decided"
    needed = small.seeds_needed
    assert needed is not None
    sd = np.std(np.array(SPREAD) * 0.97, ddof=1)
    assert needed == pytest.approx((1.96 + 0.84) ** 2 * (sd / 0.0005) ** 2, rel=0.05)  # the normal approximation


def test_with_a_margin_no_rival_may_be_better_by_more() -> None:
    near = Claim(text="as good", sweep="x", better=BETTER, than=[UNIFORM], margin=0.01)
    assert only(near, trials(0.03, 0.875), trials(1.0, 0.88)).verdict == "confirmed"
    assert only(near, trials(0.03, 0.86), trials(1.0, 0.88)).verdict == "contradicted"
    assert only(near, trials(0.03, 0.87), trials(1.0, 0.88)).verdict == "not decided"
    assert only(near, trials(0.03, 0.875, 5), trials(1.0, 0.88, 5)).verdict == "not decided"


def test_every_rival_must_be_there_and_be_beaten() -> None:
    two = Claim(text="x", sweep="x", better=BETTER, than=[UNIFORM, {"noise": "beta", "noise_a": 0.5}])
    lacking = only(two, trials(0.03, 0.9), trials(1.0, 0.88))
    assert (lacking.verdict, lacking.seeds_needed) == ("not decided", None)  # more seeds would not decide it
    assert only(two, trials(0.03, 0.9), trials(1.0, 0.88), trials(0.5, 0.87)).verdict == "confirmed"
    assert only(two, trials(0.03, 0.9), trials(1.0, 0.88), trials(0.5, 0.92)).verdict == "contradicted"


def test_trials_that_differ_in_more_are_no_evidence() -> None:
    assert not evidence(CLAIM, pd.concat([trials(0.03, 0.9), trials(1.0, 0.88, epochs=9)]))
    longer = [trials(0.03, 0.9, 6, epochs=9), trials(1.0, 0.9, 6, epochs=9)]
    scales = evidence(CLAIM, pd.concat([trials(0.03, 0.9), trials(1.0, 0.88), *longer]))
    assert [each.experiment.epochs for each in scales] == [30, 9]
    assert [each.verdict for each in scales] == ["confirmed", "not decided"]
    failed = trials(1.0, 0.88).assign(status="failed")
    assert not evidence(CLAIM, pd.concat([trials(0.03, 0.9), failed]))
    old = trials(1.0, 0.88).assign(schema_version=1)
    assert not evidence(CLAIM, pd.concat([trials(0.03, 0.9), old]))


def test_the_same_model_before_training_is_a_rival_where_asked_for() -> None:
    trained = Claim(text="x", sweep="x", better=BETTER, untrained=True)
    found = only(trained, trials(0.03, 0.9))
    assert (found.verdict, found.differences[0].rival) == ("confirmed", "random initialisation")


def test_fields_that_follow_may_differ() -> None:
    mse = trials(0.03, 0.88, objective=Mse(), noise=None)
    claim = Claim(text="x", sweep="x", better={"objective": "diffusion"}, than=[{"objective": "mse"}])
    assert not evidence(claim, pd.concat([trials(0.03, 0.9), mse]))
    also = Claim(text="x", sweep="x", better=claim.better, than=claim.than, also=["noise"])
    assert only(also, trials(0.03, 0.9), mse).verdict == "confirmed"


def test_a_setting_may_be_that_something_is_absent() -> None:
    tokens = {"tokenizer": Dvae(vocabulary=16), "token_input": True}
    claim = Claim(text="x", sweep="x", better={"token_input": ""}, than=[{"token_input": True, "tokenizer": "dvae"}])
    found = only(claim, trials(0.03, 0.9), trials(0.03, 0.8, **tokens))
    assert (found.verdict, found.differences[0].rival) == ("confirmed", "token_input true, tokenizer dvae")
    other = Claim(text="x", sweep="x", better={"token_input": True}, than=[{"token_input": ""}], also=["tokenizer"])
    assert only(other, trials(0.03, 0.9), trials(0.03, 0.8, **tokens)).differences[0].rival == "token_input none"


def test_the_papers_claims_name_columns_and_values_of_the_tables() -> None:
    known = columns()
    for claim in read_claims(CLAIMS.read_text(encoding="utf-8")):
        for settings in (claim.better, *claim.than, claim.when or {}):
            assert settings.keys() <= known.keys(), claim.text
            for name, value in settings.items():
                assert value == "" or isinstance(value, known[name]), (claim.text, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims = 3", r"claims must have \[\[claim\]\] entries"),
        ('[claim]\ntext = "x"', r"claims must have \[\[claim\]\] entries"),
        ("claim = 3", r"claims must have \[\[claim\]\] entries"),
        ("[[claim]", "claims must be TOML"),
        ('[[claim]]\ntext = "x"\ncolour = 1', "must have the fields of a claim, got 'x'"),
        ('[[claim]]\ntext = "x"\nsweep = "x"\nbetter = {causal = true}', "than must be one setting or more"),
        (
            '[[claim]]\ntext = "x"\nsweep = "x"\nbetter = {causal = true}\nuntrained = true\nmetric = "val_loss"',
            "metric must be measured before training, too",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_claims(text)


def test_the_page_has_a_row_for_every_claim_and_scale() -> None:
    claims = read_claims(CLAIMS.read_text(encoding="utf-8"))
    cosine = trials(0.5, 0.87, noise=Beta(a=0.5, b=0.5))
    tables = {"results/noise_schedule": pd.concat([trials(0.03, 0.9), trials(1.0, 0.88), cosine])}
    rows = [line for line in markdown(claims, tables, "darl report").splitlines() if line.startswith("|")]
    assert len(rows) == len(tomllib.loads(CLAIMS.read_text(encoding="utf-8"))["claim"]) + 2
    (confirmed,) = [row for row in rows if "| confirmed |" in row]
    assert "+2.0 points" in confirmed
    assert "width 64, depth 4, patches of 2, 30 epochs" in confirmed
    assert sum("| not run |" in row for row in rows) == len(rows) - 3
