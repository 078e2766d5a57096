"""`darl tokenizer`, `darl pretrain --tokens` and the tokenizers of a sweep, without Ray."""

import argparse
import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import darl.results
from darl.cli import sweep_tokenizers
from darl.cli.stages import Pipeline
from darl.cli.sweep_tokenizers import with_known, with_trained
from darl.data import Dataset
from darl.evaluation.reconstruction import patch_means_error
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.tokenizers.dvae import Dvae
from darl.sweep.design import Design
from darl.training.checkpoint import latest
from darl.training.tokenizer import read_tokenizer, tokenizer_experiment
from darl.training.tokenizer_store import initial_weights

DATA = ["--no-ray", "--data", "digits:0-1", "--batch-size", "64", "--evaluations", "1", "--epochs", "1"]


@pytest.fixture
def tokenizer(call_darl, tmp_path: Path) -> Path:
    """The run of a small tokenizer, by the command."""
    flags = ["tokenizer", *DATA, "--vocabulary", 6, "--tokenizer", "dvae:width=8,depth=1", "--results", tmp_path]
    said, error, code = call_darl(*flags)
    assert (error, code) == ("", 0)
    assert "dvae:vocabulary=6,width=8,depth=1,temperature=0.0625,anneal=0.5,kl_weight=0.01, 2 pixels a patch" in said
    assert "of 6 tokens in use, perplexity " in said
    assert " images not trained on (the mean image 0." in said
    (folder,) = (tmp_path / "tokenizer" / "checkpoints").iterdir()
    figure = tmp_path / "tokenizer" / "figures" / f"reconstructions-{folder.name}.png"
    assert f"reconstructions: {figure}" in said
    with Image.open(figure) as drawn:  # 12 digits, enlarged 12 times, above their reconstructions
        assert drawn.size == (12 * 100 + 4, 2 * 100 + 4)
    again, _, code = call_darl(*flags)
    assert code == 0
    assert "is finished already" in again
    return folder


def test_a_tokenizer_is_trained_and_its_tokens_are_read_and_predicted(
    call_darl, tokenizer: Path, tmp_path: Path
) -> None:
    trials = darl.results.load(str(tmp_path / "tokenizer" / "trials"))
    row = trials.iloc[0]
    assert (row["status"], row["tokenizer"], row["tokenizer_vocabulary"]) == ("finished", "dvae", 6)
    assert 0 < row["reconstruction_mse"] < 2
    assert 1 <= row["token_perplexity"] <= 6
    assert row["flops"] > 0
    flags = ["--tokenizer", tokenizer, "--tokens", "both", "--protocols", "knn,reconstruction", "--results", tmp_path]
    _, error, code = call_darl("pretrain", *DATA, *flags)
    assert (error, code) == ("", 0), error
    own = darl.results.load(str(tmp_path / "pretrain" / "trials")).iloc[0]
    assert (own["objective"], own["token_input"]) == ("tokens", True)
    assert own["tokenizer_weights"] == read_tokenizer(tokenizer, 1, 2).fingerprint
    assert own["reconstruction_mse"] == pytest.approx(row["reconstruction_mse"])
    assert pd.notna(own["knn_top1"])
    model = tmp_path / "pretrain" / "checkpoints" / own["trial_id"]
    _, error, code = call_darl("embed", model, "--output", tmp_path / "T.parquet")
    assert code == 0, error
    assert len(pd.read_parquet(tmp_path / "T.parquet")) == 360
    for words in (["generate", model, "--output", tmp_path / "x.png"], ["pretrain", *DATA, "--init", tokenizer]):
        _, error, code = call_darl(*words, *([] if words[0] == "generate" else ["--results", tmp_path / "other"]))
        assert code == 2
        assert error.count("\n") == 1
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--tokens", "both"], "--tokens must come with --tokenizer, got 'both'"),
        (
            ["--tokens", "target", "--tokenizer", "x", "--objective", "mse"],
            "--objective must be left out with",
        ),
        (["--objective", "tokens"], "--tokenizer must be given for objective tokens: one that darl tokenizer has"),
        (["--tokens", "both", "--tokenizer", "dvae"], "--tokenizer must be a checkpoint of darl tokenizer, which"),
        (
            ["--tokens", "both", "--tokenizer", "/nowhere"],
            "--tokenizer must be a weights file, a checkpoint or a run's",
        ),
        (["--set", "token_input=true"], "--set token_input must be given as --tokens, got 'true'"),
    ],
)
def test_mistakes_are_one_line(call_darl, tmp_path: Path, flags: list[str], error: str) -> None:
    _, said, code = call_darl("pretrain", *DATA, *flags, "--results", tmp_path / "results")
    assert code == 2
    assert said.startswith(f"error: {error}")
    assert said.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_torn_tokenizer_is_one_line(call_darl, tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    _, said, code = call_darl("pretrain", *DATA, "--tokens", "both", "--tokenizer", torn)
    assert code == 2
    assert said.startswith(f"error: --tokenizer must be a whole safetensors file, got '{torn}' (")
    assert said.count("\n") == 1


def test_a_tokenizer_has_no_model_s_flags(call_darl) -> None:
    _, said, code = call_darl("tokenizer", "--objective", "mse")
    assert code == 2
    assert said.startswith("darl: unrecognized arguments: --objective mse")
    _, said, code = call_darl("tokenizer", "--vocabulary", "1")
    assert (code, said) == (2, "error: --vocabulary must be at least 2, got 1\n")


def test_yardsticks_of_reconstructions(digits: Dataset) -> None:
    """One patch of all means is the mean pixel of its place; as many as there are patches leave nothing."""
    of_mean, of_one = patch_means_error(digits, 1, 8)
    assert of_mean == pytest.approx(of_one, rel=1e-5)
    few = dataclasses.replace(digits, validation=digits.train)
    assert patch_means_error(few, 2000, 8)[1] == pytest.approx(0, abs=1e-9)


def test_a_sweep_s_tokenizers_are_trained_once_and_its_cells_know_them(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Experiment(model=EncoderConfig(width=16, depth=1, heads=2, patch_size=4), epochs=1)
    own = Dvae(vocabulary=6, width=8, depth=1)
    cells = {"pixels": {}, "tokens": {"tokenizer": str(own), "token_input": True}}
    contents = {base.data: digits.content}
    design = Design(name="own", question="?", base=base, cells=cells, baseline="pixels", contents=contents)
    flags = argparse.Namespace(results=str(tmp_path), workers=1, gpus_per_worker=0, save_every=9, compile=False,
                               shard=False, gradient_checkpointing=False)  # fmt: skip
    arguments = ([tokenizer_experiment(base, own)], {base.data_key: digits}, flags)
    pipeline = Pipeline(options=None, first=[design], then=[], contents=contents)
    assert with_known(pipeline, *arguments).first == [design]
    assert list(tmp_path.iterdir()) == []
    (filled,) = with_trained(pipeline, *arguments).first
    weights = filled.cells["tokens"]["tokenizer_weights"]
    assert filled.cells["pixels"] == {}
    assert initial_weights(str(tmp_path / "own"), filled.experiment(filled.cells["tokens"])) is not None
    (trained,) = (tmp_path / "own_tokenizers" / "checkpoints").iterdir()
    assert read_tokenizer(latest(trained), 1, 4).fingerprint == weights
    monkeypatch.setattr(sweep_tokenizers, "_keep", lambda *_: pytest.fail("it trained again"))
    assert with_known(pipeline, *arguments).first == [filled]
