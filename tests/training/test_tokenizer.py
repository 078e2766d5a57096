"""Training a tokenizer, exactly resumed; runs that use its tokens: weights, resumption, every protocol, refusals."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import darl
from darl.data import Augment, Dataset
from darl.data.augment import normalize
from darl.errors import UserError
from darl.evaluation.finetuned import Accuracy, NoEvaluation
from darl.evaluation.protocol import Protocols
from darl.evaluation.reconstruction import TokenizerEvaluation
from darl.evaluation.standard import standard_evaluation
from darl.experiment import Experiment
from darl.export.base import Export, read_source, write_export
from darl.finetuning import Finetuning
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.mse import Mse
from darl.model.tokenizers.dvae import Dvae
from darl.optim import Optimizer
from darl.results.rows import image_flops
from darl.training import checkpoint
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.initialization import read_initialization, weights_fingerprint
from darl.training.pretrain import fit
from darl.training.tokenizer import (
    TrainedTokenizer,
    fingerprint_in,
    placed_weights,
    read_tokenizer,
    tokenizer_experiment,
    with_tokens,
)
from darl.training.tokenizer_store import initial_weights, keep
from tests.model.tokenizers.example_tokenizers import Levels

CPU = torch.device("cpu")
SIZE = EncoderConfig(width=16, depth=1, heads=2, patch_size=2)
BASE = Experiment(
    model=SIZE, epochs=3, batch_size=32, objective=Mse(), noise=None, optim=Optimizer(ema=0.9),
    augment=Augment(crop_min=0.5, flip=True),
)  # fmt: skip
TOKENIZER = Dvae(vocabulary=8, width=16, depth=1)
TRAINING = tokenizer_experiment(BASE, TOKENIZER)
MEASURED: Any = {"full": TokenizerEvaluation(8, 2), "evaluate_at": {1: TokenizerEvaluation(8, 2)}}


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    """96 digits to train on: three steps of 32 an epoch."""
    train = dataclasses.replace(digits.train, pixels=digits.train.pixels[:96], labels=digits.train.labels[:96])
    held = digits.validation
    validation = dataclasses.replace(held, pixels=held.pixels[:64], labels=held.labels[:64])
    return dataclasses.replace(digits, train=train, validation=validation)


@pytest.fixture(scope="module")
def folder(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a tokenizer's training."""
    path = tmp_path_factory.mktemp("tokenizer")
    list(fit(TRAINING, small, device=CPU, folder=path, **MEASURED))
    return path


@pytest.fixture(scope="module")
def trained(folder: Path) -> TrainedTokenizer:
    return read_tokenizer(folder, 1, 2)


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


def stop_after(events: Iterator[Event], step: int) -> list[Event]:
    """Events up to the checkpoint of `step`: then the process is as if killed."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Saved) and event.step == step:
            break
    return seen


def same_files(one: Path, other: Path) -> None:
    for name in ("ema.safetensors", "model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("stop", [1, 3, 5, 8])
def test_a_training_killed_after_any_checkpoint_is_resumed_bit_for_bit(
    small: Dataset, tmp_path: Path, folder: Path, stop: int
) -> None:
    """Temperature and KL weight go on where they were, as do optimiser and moving average."""
    whole = list(fit(TRAINING, small, device=CPU, **MEASURED))
    first = stop_after(fit(TRAINING, small, device=CPU, folder=tmp_path, save_every=1, **MEASURED), stop)
    newest = checkpoint.latest(tmp_path)
    rest = list(fit(TRAINING, small, device=CPU, folder=tmp_path, resume=newest, **MEASURED))
    assert len(losses(whole)) == 9
    assert losses(first) + losses(rest) == losses(whole)
    same_files(checkpoint.latest(folder), checkpoint.latest(tmp_path))


def test_the_temperature_matters_to_the_losses(small: Dataset) -> None:
    """Otherwise the test above would say nothing of it."""
    other = tokenizer_experiment(BASE, dataclasses.replace(TOKENIZER, temperature=0.5))
    one, two = (losses(list(fit(run, small, device=CPU, full=TokenizerEvaluation(8, 2)))) for run in (TRAINING, other))
    assert all(a != b for a, b in zip(one, two, strict=True))


def test_micro_batches_give_the_losses_of_whole_ones(small: Dataset) -> None:
    parts = tokenizer_experiment(BASE, TOKENIZER, accumulate=4)
    one, two = (losses(list(fit(run, small, device=CPU, full=TokenizerEvaluation(8, 2)))) for run in (TRAINING, parts))
    torch.testing.assert_close(torch.tensor(one), torch.tensor(two), rtol=1e-4, atol=1e-5)


def test_training_reconstructs_better_than_the_mean_pixel_and_reports_it(digits: Dataset) -> None:
    run = tokenizer_experiment(Experiment(model=EncoderConfig(width=16, patch_size=4, heads=2, depth=1), epochs=5),
                               Dvae(vocabulary=16, width=32, depth=1), learning_rate=8e-3)  # fmt: skip
    events = list(fit(run, digits, device=CPU, full=TokenizerEvaluation(16, 4)))
    first, last = (event.metrics for event in events if isinstance(event, Evaluated))
    assert last["reconstruction_mse"] < 0.5 < first["reconstruction_mse"]
    assert 2 < last["token_perplexity"] <= 16 * last["tokens_used"] <= 16
    assert image_flops(run) == 4 * run.tokenizer.training_flops(16)


def test_records_of_runs_without_tokens_stay_as_they_were() -> None:
    assert Experiment().trial_id == "61172bd5f6fb"
    assert not {"tokenizer", "tokenizer_weights", "token_input"} & Experiment().to_record().keys()


def test_a_run_with_tokens_survives_its_record(trained: TrainedTokenizer) -> None:
    ids = {BASE.trial_id, TRAINING.trial_id}
    for tokens in ("input", "target", "both"):
        run = with_tokens(BASE, tokens, trained)
        assert not run.trains_tokenizer
        assert Experiment.from_record(run.to_record()) == run
        assert run.to_record()["tokenizer_weights"] == trained.fingerprint
        assert (run.token_input, run.objective.kind) == (
            None if tokens == "target" else True, "mse" if tokens == "input" else "tokens",
        )  # fmt: skip
        ids.add(run.trial_id)
    assert len(ids) == 5
    assert TRAINING.trains_tokenizer
    with pytest.raises(UserError, match=r"^tokenizer_weights must be left out where no tokens are read or predicted"):
        BASE.changed({"tokenizer_weights": trained.fingerprint})


def start(run: Experiment, trained: TrainedTokenizer) -> dict[str, Any]:
    return {"initial": placed_weights(trained.weights, run)}


@pytest.mark.parametrize("tokens", ["input", "target", "both"])
def test_a_pretraining_with_tokens_keeps_the_tokenizer_and_is_resumed_bit_for_bit(
    small: Dataset, tmp_path: Path, trained: TrainedTokenizer, tokens: str
) -> None:
    run, measured = with_tokens(BASE, tokens, trained), Protocols.parse("knn,reconstruction")
    own: Any = {"device": CPU, "full": measured, **start(run, trained)}
    whole = list(fit(run, small, folder=tmp_path / "whole", **own))
    first = stop_after(fit(run, small, folder=tmp_path / "cut", save_every=1, **own), 4)
    newest = checkpoint.latest(tmp_path / "cut")
    rest = list(fit(run, small, folder=tmp_path / "cut", resume=newest, device=CPU, full=measured))
    assert losses(first) + losses(rest) == losses(whole)
    same_files(*(checkpoint.latest(tmp_path / part) for part in ("whole", "cut")))
    read = checkpoint.load_pretrained(tmp_path / "whole")
    assert fingerprint_in(read.model) == trained.fingerprint
    last = whole[-1]
    assert isinstance(last, Evaluated)
    assert last.metrics["reconstruction_mse"] > 0
    assert last.metrics["knn_top1"] is not None


def test_other_weights_than_the_record_names_are_refused(small: Dataset, trained: TrainedTokenizer) -> None:
    run = with_tokens(BASE, "both", trained)
    full = standard_evaluation()
    with pytest.raises(UserError, match=r"init must come with its weights \(`initial`\), got 'sha256:"):
        next(fit(run, small, device=CPU, full=full))
    others = {name: value + 1 for name, value in trained.weights.items()}
    with pytest.raises(UserError, match=rf"^initial must hold the weights of tokenizer {trained.fingerprint}, got "):
        next(fit(run, small, device=CPU, full=full, initial=placed_weights(others, run)))


def test_every_protocol_measures_a_model_that_reads_tokens(small: Dataset, trained: TrainedTokenizer) -> None:
    run = with_tokens(BASE, "input", trained).changed({"epochs": 1})
    texts = "linear:enlarged=true,knn,few_shot,denoising,rankme,reconstruction,attentive:epochs=1,finetune:epochs=1"
    *_, last = fit(run, small, device=CPU, full=Protocols.parse(texts), **start(run, trained))
    assert isinstance(last, Evaluated)
    for column in ("probe_top1", "probe_top1_enlarged", "knn_top1", "few_shot_5_top1", "val_loss", "rankme",
                   "reconstruction_mse", "attentive_top1", "finetune_top1"):  # fmt: skip
        assert last.metrics[column] is not None, column
    target = with_tokens(BASE, "target", trained).changed({"epochs": 1})
    *_, last = fit(target, small, device=CPU, full=Protocols.parse("finetune:epochs=1,denoising"),
                   **start(target, trained))  # fmt: skip
    assert last.metrics["finetune_top1"] is not None
    assert last.metrics["val_loss"] is None


@pytest.fixture(scope="module")
def reader(small: Dataset, trained: TrainedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run that reads tokens."""
    path, run = tmp_path_factory.mktemp("reader"), with_tokens(BASE, "both", trained).changed({"epochs": 1})
    list(fit(run, small, device=CPU, folder=path, full=Protocols.parse("knn"), **start(run, trained)))
    return path


def test_the_encoder_that_is_loaded_brings_the_tokenizer(small: Dataset, reader: Path) -> None:
    pixels = torch.from_numpy(small.validation.pixels[:5].copy())
    images = normalize(pixels, small.mean, small.std)
    pretrained, encoder = checkpoint.load_pretrained(reader), darl.load(reader)
    expected = pretrained.model.eval().forward_features(images)
    torch.testing.assert_close(encoder.forward_features(images), expected)
    assert encoder.settings()["tokenizer"] == str(TOKENIZER)
    with pytest.raises(UserError, match=r"^tokenizer must be 'dvae:.*, the checkpoint's, got 'example_levels'"):
        darl.load(reader, tokenizer="example_levels")


@pytest.mark.parametrize("target", ["safetensors", "huggingface"])
def test_exports_that_hold_the_tokenizer(reader: Path, tmp_path: Path, target: str) -> None:
    source = read_source(str(reader), lambda run, trial: {})
    assert write_export(Export.parse(target), source, str(tmp_path / "export")) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("target", ["timm", "onnx"])
def test_exports_that_cannot_hold_it_name_those_that_can(reader: Path, target: str) -> None:
    source = read_source(str(reader), lambda run, trial: {})
    with pytest.raises(UserError, match=rf"^export must be huggingface or safetensors, .* got '{target}'$"):
        Export.parse(target).check(source)


def test_yardsticks_of_random_weights_and_init_know_the_tokenizer(reader: Path, trained: TrainedTokenizer) -> None:
    pretrained = checkpoint.load_pretrained(reader)
    untrained, table = pretrained.untrained(), "encoder.patch_embed.table.weight"
    assert fingerprint_in(untrained) == trained.fingerprint
    assert not torch.equal(untrained.state_dict()[table], pretrained.model.state_dict()[table])
    own = read_initialization(str(reader), with_tokens(BASE, "both", trained))
    assert (own.missing, own.reshaped, own.unexpected) == ((), (), ())
    pixels = read_initialization(str(reader), BASE)
    assert [name for name in pixels.missing if "patch_embed" in name] == [
        "encoder.patch_embed.proj.weight", "encoder.patch_embed.proj.bias",
    ]  # fmt: skip


def test_fine_tuning_from_random_weights_keeps_the_tokenizer(small: Dataset, trained: TrainedTokenizer) -> None:
    tuned = with_tokens(BASE, "input", trained).changed({"epochs": 1, "causal": False})
    tuned = dataclasses.replace(tuned, finetuning=Finetuning())
    own: Any = {"device": CPU, "full": Accuracy(), "first": NoEvaluation(), **start(tuned, trained)}
    *_, last = fit(tuned, small, **own)
    assert isinstance(last, Evaluated)
    assert last.metrics["finetune_top1"] is not None


def test_a_sweep_s_trials_find_the_weights_by_their_hash(tmp_path: Path, trained: TrainedTokenizer) -> None:
    keep(str(tmp_path), trained)
    keep(str(tmp_path), trained)
    assert len(list((tmp_path / "tokenizers").iterdir())) == 1
    run = with_tokens(BASE, "both", trained)
    found = initial_weights(str(tmp_path), run)
    assert found.keys() == placed_weights(trained.weights, run).keys()
    assert all(torch.equal(found[name], value) for name, value in placed_weights(trained.weights, run).items())
    assert initial_weights(str(tmp_path), BASE) is None
    assert initial_weights(str(tmp_path / "other"), run) is None


def test_a_foreign_tokenizer_comes_with_its_weights(small: Dataset) -> None:
    foreign = read_tokenizer("example_levels:12", 1, 2)
    assert foreign.tokenizer == Levels(vocabulary=12)
    assert foreign.fingerprint == weights_fingerprint({"edges": torch.arange(1, 12) / 10 - 1})
    run = with_tokens(BASE, "both", foreign).changed({"epochs": 1})
    *_, last = fit(run, small, device=CPU, full=Protocols.parse("reconstruction"), **start(run, foreign))
    assert isinstance(last, Evaluated)
    assert last.metrics["tokens_used"] == pytest.approx(last.metrics["tokens_used"])


def test_a_tokenizer_that_does_not_fit_is_refused(folder: Path, trained: TrainedTokenizer) -> None:
    with pytest.raises(UserError, match=r"^patch_size must be 2, the tokenizer's, got 4$"):
        with_tokens(BASE.changed({"model.patch_size": 4}), "both", trained)
    with pytest.raises(UserError, match=r"^channels must be 1, the tokenizer's, got 3$"):
        with_tokens(BASE.changed({"channels": 3}), "both", trained)
    with pytest.raises(UserError, match=r"^tokenizer must be a checkpoint of darl tokenizer, which trains one of this"):
        read_tokenizer("dvae:vocabulary=4", 1, 2)


def test_models_and_tokenizers_are_not_taken_for_each_other(folder: Path, reader: Path) -> None:
    with pytest.raises(UserError, match=r"^tokenizer must be a checkpoint of darl tokenizer, not of a model"):
        read_tokenizer(reader, 1, 2)
    for load in (checkpoint.load_pretrained, darl.load):
        with pytest.raises(UserError, match=r"^checkpoint must be of a model, and this is a tokenizer"):
            load(folder)
    with pytest.raises(UserError, match=r"^init must be of a model, and this is a tokenizer"):
        read_initialization(str(folder), BASE)
