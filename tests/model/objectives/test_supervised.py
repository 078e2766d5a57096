"""Supervised training from scratch: what the loss is, which label belongs to which image, and who needs labels."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import darl
from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation.protocol import Protocols
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.base import LABELS
from darl.model.objectives.supervised import Supervised
from darl.training.events import Evaluated, Stepped
from darl.training.pretrain import fit
from tests.model.small_models import SMALL, images, small

CPU = torch.device("cpu")
Y = torch.tensor([2, 0])


def classifier(objective: str = "supervised", **options: Any) -> Darl:
    return small(objective, classes=3, **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_the_loss_is_the_cross_entropy_of_smoothed_labels(smoothing: float) -> None:
    model = classifier(f"supervised:label_smoothing={smoothing}")
    out = model(images(), {LABELS: Y})
    target = torch.full((2, 3), smoothing / 3, dtype=torch.float64)
    target[[0, 1], Y] += 1 - smoothing
    expected = -(target * out["prediction"].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(out["loss"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", ["raster", "hilbert"])
@pytest.mark.parametrize("readout", ["mean", "last"])
def test_scores_are_a_linear_map_of_the_readout_that_probes_read(readout: str, order: str) -> None:
    model = darl.create_model(
        dataclasses.replace(SMALL, readout=readout), image_size=8, channels=2, objective="supervised", classes=3,
        order=order,
    ).double()  # fmt: skip
    pixels = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    features = model.forward_head(model.forward_features(pixels))
    expected = features @ model.decoder.head.weight.T + model.decoder.head.bias
    torch.testing.assert_close(model(pixels, {LABELS: Y})["prediction"], expected, rtol=0, atol=1e-10)


def test_it_has_no_causal_mask_unless_it_is_asked_for() -> None:
    assert classifier().encoder.causal is False
    assert classifier(causal=True).encoder.causal is True


def test_the_number_of_classes_comes_from_the_data(digits: Dataset) -> None:
    before = Experiment(objective=Supervised(), noise=None, causal=False)
    known = before.knowing({"digits": digits.content})
    assert known.build().decoder.head.out_features == 10
    assert known.model_config.flops() - before.model_config.flops() == 2 * 64 * 10
    assert Experiment().knowing({"digits": digits.content}).model_config.classes is None
    with pytest.raises(UserError, match=r"^classes must be given for objective supervised, got None$"):
        before.build()


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(UserError, match=r"^objective\.label_smoothing must be in \[0, 1\), got"):
        Supervised(label_smoothing=smoothing)


def test_it_learns_the_labels_of_the_images(digits: Dataset) -> None:
    """Each image is trained with its own label: the head tells held-out digits apart, which no other pairing allows."""
    size = EncoderConfig(width=32, depth=2, heads=2, patch_size=4)
    experiment = Experiment(
        objective=Supervised(), noise=None, causal=False, content=digits.content, model=size, epochs=12, batch_size=64
    )
    trained: list[Darl] = []

    def accuracy(model: Darl, dataset: Dataset, device: torch.device) -> dict[str, float]:
        pixels = torch.from_numpy(dataset.validation.pixels).float() / 255
        labels = torch.from_numpy(dataset.validation.labels)
        scores = model((pixels - dataset.mean[0]) / dataset.std[0], {LABELS: labels})["prediction"]
        trained.append(model)
        return {"own": (scores.argmax(1) == labels).double().mean().item()}

    events = list(fit(experiment, digits, device=CPU, full=accuracy))
    before, after = (event.metrics["own"] for event in events if isinstance(event, Evaluated))
    assert before < 0.3
    assert after > 0.85
    judged = Protocols.parse("knn,denoising")(trained[-1], digits, CPU)
    assert judged["val_loss"] is None
    assert judged["knn_top1"] > judged["pixels_knn_top1"] - 0.2


def test_a_run_resumes_bit_for_bit_and_microbatches_give_the_step_of_the_whole(digits: Dataset, tmp_path: Path) -> None:
    size = EncoderConfig(width=16, depth=1, heads=2, patch_size=4)
    experiment = Experiment(
        objective=Supervised(), noise=None, causal=False, content=digits.content, model=size, epochs=2, batch_size=128
    )

    def losses(own: Experiment, **options: Any) -> list[float]:
        events = fit(own, digits, device=CPU, full=lambda *_: {}, **options)
        return [event.loss for event in events if isinstance(event, Stepped)]

    whole = losses(experiment, folder=tmp_path, save_every=5)
    steps = sorted(tmp_path.glob("step-*"))
    assert len(whole) == 22
    assert steps[0].name == "step-00000020"
    assert losses(experiment, resume=steps[0]) == whole[20:]
    parts = losses(dataclasses.replace(experiment, accumulate=4))
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=1e-5, atol=0)


def test_data_without_labels_is_refused(digits: Dataset) -> None:
    blind = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=None))
    experiment = Experiment(objective=Supervised(), noise=None, causal=False, content=digits.content)
    with pytest.raises(UserError, match=r"^data must have labels for this objective, got 'digits'$"):
        list(fit(experiment, blind, device=CPU, full=lambda *_: {}))


def test_generation_and_denoising_are_refused_naming_the_objective() -> None:
    with pytest.raises(UserError, match=r"^objective must predict the next patch for generation, got 'supervised'$"):
        classifier().generate(1)
    with pytest.raises(UserError, match=r"^objective must predict every patch to be evaluated by .*'supervised'$"):
        classifier().denoiser(images())
