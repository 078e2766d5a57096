"""The sweep over tokens on Ray: its tokenizers are trained once, and its trials find them."""

from pathlib import Path

import pandas as pd
import pytest

from tests.integration.conftest import Command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_sweep_trains_its_tokenizers_and_then_its_cells(command: Command, tmp_path: Path) -> None:
    flags = ("sweeps/tokenizer.py", "--vocabularies", 6, "--epochs", 2, "--tokenizer-epochs", 1, "--seeds", 1,
             "--data", "digits:0-1", "--protocols", "few_shot,reconstruction", "--results", tmp_path)  # fmt: skip
    said = command(*flags).stdout
    assert "tokenizer dvae:vocabulary=6," in said
    assert "of 6 tokens in use" in said
    assert "pixels → pixels" in said
    trials = pd.read_parquet(tmp_path / "tokenizer" / "trials")
    assert (trials["status"] == "finished").all(), list(trials["error"])
    assert len(trials) == 8
    assert trials["tokenizer_weights"].nunique() == 1
    assert (trials["tokenizer_weights"].notna() == trials["reconstruction_mse"].notna()).all()
    again = command(*flags).stdout
    assert "is finished already" in again
    assert "epoch    1 of 1" not in again
    assert len(pd.read_parquet(tmp_path / "tokenizer" / "trials")) == 8
    assert "pixels → pixels" in command(*flags, "--report").stdout
