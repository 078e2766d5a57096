"""`darl finetune` without Ray: the row, what it starts from, a second call, and mistakes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import darl.results
from darl.data import Dataset
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.training.initialization import weights_fingerprint
from darl.training.pretrain import fit
from tests.data.example_images import pngs, write_folder, write_parquet
from tests.evaluation.example_subjects import CPU


@pytest.fixture
def run(call_darl: Callable[..., tuple[str, str, object]]):
    """Run `darl finetune` in this process; returns standard output, standard error and the exit code."""
    return partial(call_darl, "finetune")


@pytest.fixture(scope="module")
def source(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Experiment]:
    """A checkpoint of a pretraining of one epoch."""
    folder = tmp_path_factory.mktemp("source")
    size = EncoderConfig(width=16, depth=1, heads=2, patch_size=4)
    experiment = Experiment(data="digits:0-1", model=size, epochs=1, batch_size=64)
    list(fit(experiment, digits, device=CPU, folder=folder, full=lambda *given: {}))
    return folder, experiment


def test_a_row_says_where_the_weights_come_from(run, source: tuple[Path, Experiment], tmp_path: Path) -> None:
    folder, pretraining = source
    flags = (folder, "--no-ray", "--epochs", 2, "--evaluations", 1, "--results", tmp_path)
    said, error, code = run(*flags)
    assert (error, code) == ("", 0)
    assert said.splitlines()[1] == "epoch    0 of 2 | 0 s"
    assert run(*flags, "--scratch")[2] == 0
    rows = darl.results.load(str(tmp_path / "finetune" / "trials")).set_index("finetuning_source", drop=False)
    own, scratch = rows.loc[pretraining.trial_id], rows[rows["finetuning_source"].isna()].iloc[0]
    weights = darl.training.checkpoint.load_pretrained(folder).model.state_dict()
    assert own["init"] == weights_fingerprint(weights)
    assert pd.isna(scratch["init"])
    assert own["finetune_top1"] > 0.5
    assert own["flops"] == 3 * own["images_seen"] * pretraining.model_config.trunk_flops(4)
    assert "is finished already" in run(*flags)[0]


def test_the_test_images_are_used_once_and_the_row_says_what_decided(
    run, source: tuple[Path, Experiment], tmp_path: Path
) -> None:
    files, data = pngs(30), tmp_path / "data"
    data.mkdir()
    write_parquet(data / "train.parquet", files[:20], [i % 2 for i in range(20)])
    write_parquet(data / "test.parquet", files[20:], [i % 2 for i in range(10)])
    said, error, code = run(source[0], "--no-ray", "--data", data, "--epochs", 1, "--results", tmp_path / "r")
    assert (error, code) == ("", 0)
    row = darl.results.load(str(tmp_path / "r" / "finetune" / "trials")).iloc[0]
    assert row["split"] == "held out of train"
    assert f"test split (10 images, used once): fine-tuning {100 * row['test_finetune_top1']:.1f} %" in said


def test_images_without_labels_are_refused_before_anything_is_written(
    run, source: tuple[Path, Experiment], tmp_path: Path
) -> None:
    write_folder(tmp_path / "flat", [f"{i}.png" for i in range(12)])
    _, error, code = run(source[0], "--no-ray", "--data", tmp_path / "flat", "--results", tmp_path / "r")
    assert code == 2
    assert error.startswith("error: --data must have labels in both splits, got")
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "many"], "error: --epochs must be an integer, got 'many'\n"),
        (["--layer-decay", "2"], "error: --layer-decay must be in (0, 1], got '2'\n"),
        (["--workers", 2], "error: --workers must be 1 with --no-ray, got 2\n"),
        (["--batch-size", "33", "--augmentation", "full"], "error: --batch-size must leave each worker an even number"),
    ],
)
def test_mistakes_are_one_line(run, source: tuple[Path, Experiment], tmp_path: Path, words, message: str) -> None:
    _, error, code = run(source[0], "--no-ray", "--results", tmp_path / "r", *words)
    assert code == 2
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert not (tmp_path / "r" / "finetune" / "trials").exists()
