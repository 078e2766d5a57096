"""What a run is said to cost, and flags of large models that do not fit together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from darl.cli.cost import IMAGENET, forecast
from darl.experiment import Experiment
from darl.model.encoder_config import size_of
from darl.optim import Optimizer
from darl.training.parallel import Execution, Workers
from tests.cli.sweep_script import run

Call = Callable[..., tuple[str, str, object]]


def test_the_papers_recipe_says_what_it_costs_without_imagenet(tmp_path: Path, call_darl: Call) -> None:
    words = ("pretrain", "--recipe", "paper", "--dry-run", "--results", tmp_path / "r", "--model", "large")
    said, error, code = call_darl(*words, "--workers", 8, "--gpus-per-worker", 1)
    assert (error, code) == ("", 0)
    first, model, run, cost, memory = said.splitlines()
    assert first == "no --data: for ImageNet-1k"
    assert model.endswith("M parameters (width 1024, depth 24, patches of 16 in 224 pixels)")
    assert run.startswith("400 epochs of 1,281,167 images: 124,800 steps of 4,096 images, of these 40 epochs of warm")
    assert cost.startswith("estimated cost: ")
    assert "GPU-hours on H100 SXM (989 TFLOP/s in bfloat16), if it reaches 35% of its peak rate" in cost
    assert "(assumed, not measured); on 8 of them " in cost
    assert "Activations, of 512 images at a time" in memory
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("data", [("--recipe", "paper"), ("--data", "digits")])
@pytest.mark.parametrize("labels", [("--objective", "supervised"), ("--condition", "labels")])
def test_what_learning_from_labels_costs(
    data: tuple[str, ...], labels: tuple[str, ...], tmp_path: Path, call_darl: Call
) -> None:
    said, error, code = call_darl("pretrain", *data, *labels, "--dry-run", "--results", tmp_path / "r")
    assert (error, code) == ("", 0)
    assert " M parameters " in said


def test_a_forecast_counts_three_passes_four_with_gradient_checkpointing() -> None:
    """The operations of ViT-B in training: six for each parameter and token, and the attention."""
    paper = Experiment().changed({"model": size_of("base"), "image_size": 224, "epochs": 1, "batch_size": 4096})
    lines = list(forecast(paper, IMAGENET.train, Workers()))
    flops = 3 * paper.model_config.flops() * 312 * 4096
    assert f"{flops / 1e18:.3g} EFLOPs" in lines[1]
    assert 6 * 86e6 * 196 < flops / (312 * 4096) < 1.4 * 6 * 86e6 * 196
    repeated = Workers(execution=Execution(gradient_checkpointing=True))
    assert f"{4 / 3 * flops / 1e18:.3g} EFLOPs" in list(forecast(paper, IMAGENET.train, repeated))[1]


def test_a_forecast_divides_the_state_of_a_sharded_model() -> None:
    averaged = Experiment().changed({"model": size_of("tiny", patch_size=4), "optim": Optimizer(ema=0.9), "epochs": 1})
    parameters = sum(parameter.numel() for parameter in averaged.build().parameters())
    *_, copies = forecast(averaged, 10_000, Workers(count=4))
    *_, shared = forecast(averaged, 10_000, Workers(count=4, execution=Execution(sharded=True)))
    assert copies.startswith(f"{20 * parameters / 2**30:.2f} GiB a worker for weights, gradients, AdamW's moments and ")
    assert shared.startswith(f"{5 * parameters / 2**30:.2f} GiB a worker for ")


@pytest.mark.parametrize("words", [("pretrain",), ("pretrain", "--no-ray"), ("tokenizer", "--no-ray")])
def test_one_worker_cannot_shard(words: tuple[str, ...], tmp_path: Path, call_darl: Call) -> None:
    said, error, code = call_darl(*words, "--shard", "--results", tmp_path / "r")
    message = "error: --shard must be given with two or more workers, which share the model's state, got 1\n"
    assert (said, error, code) == ("", message, 2)
    assert not (tmp_path / "r").exists()


def test_a_sweep_refuses_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--shard", "--results", str(tmp_path / "r"))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: --shard must be given with two or more workers")
    assert not (tmp_path / "r").exists()
