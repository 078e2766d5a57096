"""Next-embedding prediction: its loss, what it reads, and the collapses that its shift and stopped gradient prevent."""

import math
from functools import cache
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darl.data import Dataset
from darl.evaluation.protocol import Protocols
from darl.experiment import Experiment
from darl.model.config import ModelConfig
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.nepa import Nepa
from darl.model.orders import Raster
from darl.model.positions import Rotary2d
from darl.model.trunk import Trunk
from tests.model.reference_model import reference_context
from tests.model.small_models import images, small


def test_the_loss_is_the_mean_cosine_of_each_output_with_its_patch_s_embedding() -> None:
    model = small("nepa", order="spiral")
    patches, _ = model.encoder.patches(images())
    weight, bias = model.encoder.patch_embed.proj.weight.flatten(1), model.encoder.patch_embed.proj.bias
    cosines: list[float] = []
    for outputs, image in zip(reference_context(model, patches), patches, strict=True):
        for output, patch in zip(outputs, image, strict=True):
            embedding = weight @ patch + bias
            lengths = math.sqrt(output.square().sum().item() * embedding.square().sum().item())
            cosines.append((output * embedding).sum().item() / lengths)
    assert len(cosines) == 2 * 12
    assert model(images())["loss"].item() == pytest.approx(-sum(cosines) / 24, abs=1e-9)


@pytest.mark.parametrize("position", ["rope2d", "sincos2d", "learned"])
def test_the_target_holds_no_position(position: str) -> None:
    """Otherwise most of it would be known beforehand: these vectors are longer than an embedding."""
    model = small("nepa", position=position)
    targets: list[Tensor] = []
    patches, _ = model.encoder.patches(torch.ones_like(images()))

    class Seen(Nepa):
        def target(self, embeddings: Tensor) -> Tensor:
            targets.append(embeddings)
            return super().target(embeddings)

    Seen().loss(model.encoder, model.decoder, patches, {})
    assert torch.equal(targets[0], targets[0][:, :1].expand_as(targets[0]))


def test_the_last_patch_is_a_target_only_and_no_gradient_reaches_it() -> None:
    model = small("nepa")
    pixels = images().requires_grad_()
    model(pixels)["loss"].backward()
    gradient, _ = model.encoder.patches(pixels.grad)
    assert gradient[:, -1].abs().max() == 0
    assert (gradient[:, :-1].abs().amax((0, 2)) > 0).all()
    other = images()
    other[:, :, -2:, -2:] += 1
    assert torch.equal(model(other)["prediction"], model(images())["prediction"])
    assert not torch.equal(model(other)["loss"], model(images())["loss"])


class WithoutStop(Nepa):
    """The paper's ablation: the gradient flows through the target, too."""

    def target(self, embeddings: Tensor) -> Tensor:
        return embeddings


class WithoutShift(Nepa):
    """The paper's ablation: the output for a patch has read the patch itself."""

    def predict(self, encoder: Trunk, embeddings: Tensor, prefix: Tensor | None = None) -> Tensor:
        return encoder.trunk(encoder.add_positions(embeddings, encoder.grid), encoder.grid)[:, 1:]


class Learned(NamedTuple):
    """What 100 steps on digits have come to, on images that were held out."""

    loss: float
    alike: float
    """Mean cosine of the embeddings of any two patches."""
    context: float
    """1 - mean cosine of the last output before and after all patches that precede it are replaced."""


@cache
def learned(objective: Nepa) -> Learned:
    from sklearn.datasets import load_digits

    pixels = torch.tensor(load_digits().images).float().sub(4.9).div(6.0).unsqueeze(1)
    model = ModelConfig(
        size=EncoderConfig(width=32, depth=2, heads=2, patch_size=4), image_size=(8, 8), channels=1, order=Raster(),
        position=Rotary2d(), causal=True, objective=objective, noise=None,
    ).build(0)  # fmt: skip
    optimizer, generator = torch.optim.AdamW(model.parameters(), lr=6e-3), torch.Generator().manual_seed(0)
    for _ in range(100):
        loss = model(pixels[torch.randint(1500, (32,), generator=generator)], {})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return measured(model, pixels[1500:])


@torch.no_grad()
def measured(model: Darl, pixels: Tensor) -> Learned:
    objective, encoder = model.objective, model.encoder
    assert isinstance(objective, Nepa)
    embeddings = encoder.project(encoder.patches(pixels)[0])
    mixed = torch.cat([embeddings[:, :-1].roll(1, 0), embeddings[:, -1:]], dim=1)
    own, other = (objective.predict(encoder, tokens)[:, -1] for tokens in (embeddings, mixed))
    return Learned(
        loss=model(pixels, {})["loss"].item(),
        alike=F.normalize(embeddings.flatten(0, 1), dim=-1).mean(0).square().sum().item(),
        context=1 - F.cosine_similarity(own, other, dim=-1).mean().item(),
    )


def test_it_neither_collapses_nor_copies() -> None:
    """Measured: loss -0.76, embeddings 0.17 alike (0.09 before training), context 0.18."""
    whole = learned(Nepa())
    assert -0.9 < whole.loss < -0.6
    assert whole.alike < 0.4
    assert whole.context > 0.1


def test_without_the_stopped_gradient_all_patches_get_the_same_embedding() -> None:
    """Measured: loss -0.992, embeddings 0.98 alike."""
    collapsed = learned(WithoutStop())
    assert collapsed.loss < -0.98
    assert collapsed.alike > 0.9


def test_without_the_shift_the_trunk_copies_its_input_and_ignores_the_context() -> None:
    """Measured: loss -0.998, context 0.00002; the embeddings are as different as before training."""
    copied = learned(WithoutShift())
    assert copied.loss < -0.98
    assert copied.context < 0.01
    assert copied.alike < 0.2


def test_it_is_judged_by_its_features_and_has_no_validation_loss(digits: Dataset) -> None:
    size = EncoderConfig(width=16, depth=1, heads=2, patch_size=4)
    model = Experiment(objective=Nepa(), noise=None, model=size).build()
    judged = Protocols.parse("knn,denoising")(model, digits, torch.device("cpu"))
    assert judged["val_loss"] is None
    assert 0 < judged["knn_top1"] <= 1
