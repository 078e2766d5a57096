"""Fine-tuning: what is drawn for a row, parameter groups, resumption, and weights that travel."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.data.mixup import mixup_target

import darl
from darl.data import Dataset, Images
from darl.data.augment import normalize
from darl.errors import UserError
from darl.evaluation.finetuned import Accuracy, NoEvaluation
from darl.evaluation.protocol import SPLIT
from darl.experiment import Experiment
from darl.finetuning import Finetuning
from darl.model.encoder_config import EncoderConfig, size_of
from darl.optim import Optimizer, build_optimizer
from darl.training import checkpoint
from darl.training.augmentation import StrongAugmentation
from darl.training.classifier import build_classifier
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.finetune import FinetuningTask
from darl.training.initialization import weights_fingerprint
from darl.training.pretrain import fit

CPU = torch.device("cpu")
SIZE = EncoderConfig(width=16, depth=2, heads=2, patch_size=2)
BESIDE = ("finetune_balanced_top1", "finetune_top5", "finetune_half_width")
MEASURED: Any = {"full": Accuracy(), "first": NoEvaluation()}


def experiment(**changes: Any) -> Experiment:
    tuning = changes.pop("finetuning", Finetuning(drop_path=0.5))
    fixed = {"model": SIZE, "epochs": 2, "batch_size": 32, "causal": False, "optim": Optimizer(ema=0.9)}
    return Experiment(**{**fixed, **changes}, finetuning=tuning)


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


@pytest.mark.parametrize("stop", [1, 4])
def test_a_fine_tuning_that_is_cut_off_is_resumed_bit_for_bit(small: Dataset, tmp_path: Path, stop: int) -> None:
    """With all that draws: RandAugment, erasing, Mixup, CutMix, drop path."""
    tuned = experiment(finetuning=Finetuning(drop_path=0.5, attentive=True))
    random.seed(1)
    whole = list(fit(tuned, small, device=CPU, folder=tmp_path / "whole", **MEASURED))
    first: list[Event] = []
    for event in fit(tuned, small, device=CPU, folder=tmp_path / "cut", save_every=1, **MEASURED):
        first.append(event)
        if isinstance(event, Saved) and event.step == stop:
            break
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    newest = checkpoint.latest(tmp_path / "cut")
    rest = list(fit(tuned, small, device=CPU, folder=tmp_path / "cut", resume=newest, **MEASURED))
    assert losses(first)[:stop] + losses(rest) == losses(whole)
    last = [checkpoint.latest(tmp_path / part) for part in ("whole", "cut")]
    for name in ("model.safetensors", "ema.safetensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()
    ends = [[e.metrics for e in events if isinstance(e, Evaluated)] for events in (whole, rest)]
    assert ends[0] == ends[1]
    assert ends[0][0] == dict.fromkeys(("finetune_top1", *BESIDE))


def test_a_rows_draws_do_not_depend_on_the_workers(small: Dataset) -> None:
    augmentation = StrongAugmentation(Finetuning(), small, 10)
    images = normalize(torch.from_numpy(small.train.pixels[:8].copy()), small.mean, small.std)  # type: ignore[union-attr]
    labels = torch.arange(8)
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[union-attr,index]  # noqa: NPY002
    changed = augmentation.images(images, 0, 0, 5)
    halves = [augmentation.images(images[part], first, 0, 5) for part, first in ((slice(4), 0), (slice(4, 8), 4))]
    assert torch.equal(changed, torch.cat(halves))
    assert not torch.equal(changed, augmentation.images(images, 0, 0, 6))
    mixed, targets = augmentation.mixed(changed, labels, 0, 0, 5)
    pieces = [augmentation.mixed(changed[at], labels[at], at.start, 0, 5) for at in (slice(0, 4), slice(4, 8))]
    assert torch.equal(mixed, torch.cat([piece[0] for piece in pieces]))
    assert torch.equal(targets, torch.cat([piece[1] for piece in pieces]))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[union-attr,index]  # noqa: NPY002
    assert state[:2] == after[:2]
    assert torch.equal(state[2], after[2])

    model = build_classifier(experiment(), 10).train()
    model.draw_paths(range(8), 0, 5)
    whole = model(images)
    for rows in (range(4), range(4, 8)):
        model.draw_paths(rows, 0, 5)
        torch.testing.assert_close(model(images[rows.start : rows.stop]), whole[rows.start : rows.stop])
    assert not torch.allclose(whole, model.eval()(images))


def test_pairs_are_mixed_in_the_ratio_of_their_targets(small: Dataset) -> None:
    """A mixture's targets, and for Mixup its pixels, are lambda of one image and the rest of the other."""
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 3, 4, 5])
    for config in (Finetuning(cutmix=0.0), Finetuning(mixup=0.0)):
        mixed, targets = StrongAugmentation(config, small, 10).mixed(images, labels, 0, "x")
        torch.testing.assert_close(targets.sum(1), torch.ones(6))
        for first in (0, 2, 4):
            pair = slice(first, first + 2)
            share = (targets[first, first] - 0.01) / 0.9  # smoothing takes 0.1 and gives each class a tenth of it
            expected = mixup_target(labels[pair], 10, float(share), 0.1)
            torch.testing.assert_close(targets[pair], expected)
            if config.cutmix == 0:
                torch.testing.assert_close(mixed[first], share * images[first] + (1 - share) * images[first + 1])
            else:
                own = (mixed[first] == images[first]).double().mean()
                assert own.item() == pytest.approx(float(share), abs=1e-6)


def test_without_mixing_the_loss_is_smoothed_cross_entropy(small: Dataset) -> None:
    plain = Finetuning(drop_path=0.0, rand_augment="", erasing=0.0, mixup=0.0, cutmix=0.0)
    tuned = experiment(finetuning=plain, epochs=1, batch_size=96)
    (loss,) = losses(list(fit(tuned, small, device=CPU, **MEASURED)))
    model, task = build_classifier(tuned, 10), FinetuningTask(tuned, small)
    images = normalize(torch.from_numpy(small.train.pixels.copy()), small.mean, small.std)  # type: ignore[union-attr]
    scores = model(images).log_softmax(1)
    expected = 0.9 * -scores.gather(1, task.labels[:, None]).mean() - 0.1 * scores.mean()
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_each_layer_learns_slower_than_the_one_above_as_in_timm() -> None:
    tuned = experiment(finetuning=Finetuning(attentive=True, layer_decay=0.5))
    model = build_classifier(tuned, 10)
    optimizer = build_optimizer(model, tuned.optim, 1.0, 0.5)
    names = {id(value): name for name, value in model.named_parameters()}
    scale = {names[id(p)]: group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    decay = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert set(scale) == set(names.values())
    vit = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=10)
    reference = timm.optim.param_groups_layer_decay(vit, layer_decay=0.5)
    layer = {id(p): group["lr_scale"] for group in reference for p in group["params"]}
    for name, value in vit.named_parameters():
        if name in scale:
            assert scale[name] == layer[id(value)], name
    assert scale["start_token"] == scale["patch_embed.proj.weight"] == 0.5**3
    assert scale["norm.weight"] == scale["blocks.1.mlp.fc1.weight"] == 0.5
    assert scale["head.weight"] == scale["pooling.query"] == 1.0
    assert decay["norm.weight"] == decay["head.bias"] == decay["start_token"] == 0
    assert decay["blocks.0.attn.qkv.weight"] == 0.05


def test_the_pretrained_weights_are_taken_and_the_record_names_them(small: Dataset) -> None:
    weights = Experiment(model=SIZE).build().state_dict()
    tuned = experiment(init=weights_fingerprint(weights), learning_rate=1e-9, epochs=1)
    states: list[dict[str, torch.Tensor]] = []

    def keep(model: torch.nn.Module, data: Dataset, device: torch.device) -> dict[str, float | str | None]:
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return {}

    list(fit(tuned, small, device=CPU, full=keep, initial=weights))
    for name, value in states[0].items():
        if not name.startswith("head."):
            assert torch.equal(value, weights[f"encoder.{name}"]), name
    assert Experiment.from_record(tuned.to_record()) == tuned
    assert "finetuning" not in Experiment().to_record()


@pytest.mark.parametrize("attentive", [False, True])
def test_fine_tuned_weights_are_loaded(small: Dataset, tmp_path: Path, attentive: bool) -> None:
    tuned = experiment(finetuning=Finetuning(attentive=attentive), epochs=1)
    *_, last = fit(tuned, small, device=CPU, folder=tmp_path, **MEASURED)
    assert isinstance(last, Evaluated)
    model = darl.load(tmp_path)
    images = normalize(torch.from_numpy(small.validation.pixels.copy()), small.mean, small.std)  # type: ignore[union-attr]
    top1 = (model(images).argmax(1) == torch.tensor(small.validation.labels)).double().mean().item()
    assert top1 == last.metrics["finetune_top1"]
    with pytest.raises(UserError, match=r"^checkpoint must be of a pretraining"):
        checkpoint.load_pretrained(tmp_path)
    if attentive:
        return
    assert darl.load(tmp_path, num_classes=0)(images).shape == (64, 16)
    assert darl.load(tmp_path, num_classes=3)(images).shape == (64, 3)


def test_timm_takes_fine_tuned_weights(digits: Dataset, tmp_path: Path) -> None:
    tuned = experiment(model=size_of("nano", patch_size=4), epochs=1, optim=Optimizer(), batch_size=1024)
    *_, saved, _ = fit(tuned, digits, device=CPU, folder=tmp_path, **MEASURED)
    assert isinstance(saved, Saved)
    file = saved.path / "model.safetensors"
    model = timm.create_model("darl_nano_patch16_224", num_classes=10, checkpoint_path=str(file)).eval()
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(model(images), darl.load(tmp_path)(images))


def test_final_figures_need_the_labels_of_the_test_images(small: Dataset) -> None:
    """Where the labels of a test split are withheld, only the validation images are judged."""
    assert isinstance(small.validation, Images)
    for labels, more in ((small.validation.labels, {"test_finetune_top1"}), (None, set[str]())):
        test = Images(small.validation.pixels, labels)
        data = dataclasses.replace(small, test=test, split="held out of train")
        *_, last = fit(experiment(epochs=1), data, device=CPU, **MEASURED)
        assert isinstance(last, Evaluated)
        assert set(last.metrics) == {"finetune_top1", *BESIDE, *more, SPLIT}
        assert last.metrics[SPLIT] == "held out of train"
        assert last.metrics.get("test_finetune_top1", last.metrics["finetune_top1"]) == last.metrics["finetune_top1"]


def test_data_that_do_not_fit_are_refused(small: Dataset) -> None:
    bare = dataclasses.replace(small.train, labels=None)  # type: ignore[type-var]
    with pytest.raises(UserError, match=r"^data must have labels in both splits"):
        next(fit(experiment(), dataclasses.replace(small, train=bare), device=CPU, **MEASURED))
    with pytest.raises(UserError, match=r"^batch_size must leave each worker an even number of images"):
        next(fit(experiment(batch_size=33), small, device=CPU, **MEASURED))
    with pytest.raises(UserError, match=r"^finetuning.layer_decay must be in \(0, 1\], got 0$"):
        Finetuning(layer_decay=0)
