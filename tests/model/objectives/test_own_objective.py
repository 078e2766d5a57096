"""A new objective is one class: masked prediction in both directions, defined here and trained by the package.

`Masked` stays a variant of `Objective` in any process that collects this file: no test may expect a closed family.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation.denoising import denoising_errors
from darl.evaluation.standard import standard_evaluation
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig, TrunkConfig
from darl.model.noise import Noise
from darl.model.objectives.base import Draws, Objective
from darl.model.objectives.mse import Mse
from darl.model.trunk import Trunk
from darl.training.checkpoint import load_pretrained
from darl.training.events import Stepped
from darl.training.pretrain import fit

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Masked(Objective):
    """A mask token replaces half of each image's patches; all tokens read each other; the loss is on the masked."""

    kind: ClassVar[str] = "example_masked"

    def build(self, config: TrunkConfig) -> nn.Module:
        width = config.size.width
        return nn.ModuleDict({"mask": nn.Embedding(1, width), "head": nn.Linear(width, config.patch_dim)})

    def draws(self, config: TrunkConfig, noise: Noise | None) -> dict[str, Callable[[int, torch.Generator], Tensor]]:
        def rank(count: int, generator: torch.Generator) -> Tensor:
            return torch.rand((count, config.patches), generator=generator, device=generator.device).argsort(1)

        return {"rank": rank}

    def loss(self, encoder: Trunk, decoder: Any, patches: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        hidden = (draws["rank"] < 0.5 * patches.shape[1]).unsqueeze(-1)
        tokens = torch.where(hidden, decoder["mask"].weight, encoder.project(patches))
        tokens = encoder.add_positions(tokens, encoder.grid)
        prediction = decoder["head"](encoder.trunk(tokens, encoder.grid, causal=False)[:, 1:])
        error = (prediction - patches).square().mean(-1, keepdim=True)
        return (error * hidden).sum() / hidden.sum(), prediction

    def flops(self, config: TrunkConfig) -> float:
        return config.trunk_flops(config.patches) + 2 * config.patches * config.size.width * config.patch_dim


def experiment(**changes: Any) -> Experiment:
    size = EncoderConfig(width=32, depth=2, heads=2, patch_size=2)
    options = {"objective": Masked(), "noise": None, "causal": False, "model": size, "epochs": 6, "learning_rate": 1e-2}
    return Experiment(**(options | changes))


def nothing(model: Darl, dataset: Dataset, device: torch.device) -> dict[str, float | None]:
    return {}


def losses(experiment: Experiment, digits: Dataset, **options: Any) -> list[float]:
    events = fit(experiment, digits, device=CPU, full=nothing, **options)
    return [event.loss for event in events if isinstance(event, Stepped)]


def test_it_is_found_by_its_name() -> None:
    assert Objective.parse("example_masked") == Masked()
    assert experiment(objective=Mse()).changed({"objective": "example_masked"}).objective == Masked()


def test_it_trains_resumes_exactly_and_its_checkpoint_loads(digits: Dataset, tmp_path: Path) -> None:
    whole = losses(experiment(), digits, folder=tmp_path, save_every=20)
    quarter = len(whole) // 4
    assert sum(whole[-quarter:]) < 0.85 * sum(whole[:quarter])
    first, *_ = sorted(tmp_path.glob("step-*"))
    resumed = losses(experiment(), digits, resume=first)
    assert 0 < len(resumed) < len(whole)
    assert resumed == whole[-len(resumed) :]
    loaded = load_pretrained(tmp_path)
    assert loaded.experiment.objective == Masked()
    assert loaded.model.decoder.state_dict().keys() == {"mask.weight", "head.weight", "head.bias"}


def test_a_row_draws_the_same_mask_in_any_share_of_the_batch() -> None:
    model = experiment().build()
    whole, part = (model.draw(rows, 0, 7)["rank"] for rows in (range(64), range(40, 50)))
    assert torch.equal(whole[40:50], part)


def test_its_loss_reads_in_both_directions_and_counts_on_masked_patches_only() -> None:
    model, images = experiment().build(), torch.randn(2, 1, 8, 8)
    rank = torch.arange(16).flip(0).repeat(2, 1)  # the second half of the patches is masked
    out = model(images, {"rank": rank})
    seen = images.clone()
    seen[:, :, :2, :2] += 1
    assert not torch.equal(model(seen, {"rank": rank})["loss"], out["loss"])
    patches, _ = model.encoder.patches(images)
    error = (out["prediction"] - patches)[:, 8:].square().mean()
    torch.testing.assert_close(out["loss"], error)
    last = images.clone()
    last[:, :, -2:, -2:] += 1  # masked: it is a target and is not read
    assert torch.equal(model(last, {"rank": rank})["prediction"], out["prediction"])


def test_generation_and_denoising_are_refused_naming_the_objective(digits: Dataset) -> None:
    model = experiment().build()
    with pytest.raises(UserError, match=r"^objective must predict the next patch for generation, got 'exam"):
        model.generate(1)
    with pytest.raises(UserError, match=r"^objective must predict every patch to be evaluated by denoising, got"):
        denoising_errors(model, digits, device=CPU)


def test_its_evaluation_has_probes_and_no_denoising_losses(few_digits: Dataset) -> None:
    metrics = standard_evaluation()(experiment().build(), few_digits, CPU)
    assert metrics["val_loss"] is None
    assert metrics["knn_top1"] is not None


def test_noise_is_refused_for_it() -> None:
    with pytest.raises(UserError, match=r"^noise must be left out for objective example_masked, got 'beta"):
        experiment(objective=Masked()).changed({"noise": "beta"})
