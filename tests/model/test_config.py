"""One configuration: its checks, and its count of operations without a model."""

import resource
from dataclasses import replace

import pytest
import torch
from torch import nn

from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.config import ModelConfig
from darl.model.encoder_config import SIZES, EncoderConfig
from darl.model.noise import Beta
from darl.model.objectives.diffusion import Diffusion
from darl.model.objectives.mse import Mse
from darl.model.orders import Raster
from darl.model.positions import Absent, Rotary2d, Sincos2d
from darl.results.rows import image_flops

CONFIG = ModelConfig(
    size=EncoderConfig(width=32, depth=2, heads=2, patch_size=2),
    image_size=(6, 8),
    channels=2,
    order=Raster(),
    position=Rotary2d(),
    causal=True,
    objective=Diffusion(),
    noise=Beta(),
)


def test_sizes_that_do_not_fit_are_refused_when_the_configuration_is_made() -> None:
    for changes, message in [
        ({"noise": None}, "noise must be given for objective diffusion, got None"),
        ({"objective": Mse()}, "noise must be left out for objective mse, got 'beta:a=0.03,b=1'"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"image_size": (6, 7)}, "image_size must be a multiple of patch_size 2, got (6, 7)"),
        ({"size": EncoderConfig(width=12, heads=2, patch_size=2)}, "be a multiple of 4 for position rope2d, got 6"),
        (
            {"size": EncoderConfig(width=6, heads=1, patch_size=2), "position": Sincos2d()},
            "model.width must be a multiple of 4 for position sincos2d, got 6",
        ),
    ]:
        with pytest.raises(UserError) as mistake:
            replace(CONFIG, **changes)  # type: ignore[arg-type]
        assert message in str(mistake.value)


def test_an_experiment_refuses_a_width_that_its_objective_cannot_use() -> None:
    with pytest.raises(UserError, match=r"^model\.width must be even for objective\.gamma_conditioning, got 7$"):
        Experiment(
            model=EncoderConfig(width=7, depth=1, heads=7, patch_size=2),
            objective=Diffusion(gamma_conditioning=True),
            position=Absent(),
        )


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (CONFIG.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.start_token"], other["encoder.start_token"])


@pytest.mark.parametrize(
    ("size", "objective", "flops"),
    [
        ("nano", "diffusion", 196591616.0),
        ("nano", "mse", 154845184.0),
        ("tiny", "diffusion", 2810363904.0),
        ("tiny", "mse", 2550251520.0),
        ("huge", "diffusion", 345758566400.0),
        ("huge", "mse", 333629163520.0),
    ],
)
def test_flops_are_those_of_the_first_version(size: str, objective: str, flops: float) -> None:
    config = replace(CONFIG, size=SIZES[size], image_size=(224, 224), channels=3)
    if objective == "mse":
        config = replace(config, objective=Mse(), noise=None)
    assert config.flops() == flops


def test_flops_of_huge_are_counted_without_building_it(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = Experiment(model=SIZES["huge"], image_size=224, channels=3)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a module is made to count operations")

    monkeypatch.setattr(nn.Module, "__init__", refuse)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert image_flops(huge) > 3e11
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB; the model has 2.5 GB
