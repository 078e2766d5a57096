"""A configuration is made without timm, torchvision and scipy, which take seconds to import."""

import subprocess
import sys

import pytest

LIGHT = [
    "darl.model.orders", "darl.model.positions", "darl.model.noise", "darl.model.encoder_config", "darl.model.config",
    "darl.model.objectives.mse", "darl.model.objectives.diffusion", "darl.model.objectives.mae",
    "darl.model.objectives.masked", "darl.model.objectives.supervised", "darl.model.objectives.nepa",
    "darl.model.objectives.tokens", "darl.model.tokenizers.dvae",
    "darl.model.factory", "darl.optim",
]  # fmt: skip
CONFIGURE = """
from darl.model.config import ModelConfig
from darl.model.encoder_config import SIZES
from darl.model.noise import Beta
from darl.model.objectives.base import Objective
from darl.model.orders import Order
from darl.model.positions import Position
from darl.optim import Optimizer
texts = "mse:head_depth=2", "diffusion:gamma_conditioning=true", "mae", "masked", "supervised", "nepa"
for position in Position.kinds().values():
    for objective in map(Objective.parse, texts):
        ModelConfig(size=SIZES["huge"], image_size=(224, 224), channels=3, order=Order.parse("hilbert"),
                    position=position(), causal=objective.causal_by_default, objective=objective,
                    noise=Beta() if objective.uses_noise else None).flops()
Optimizer()
"""


def heavy_modules(code: str, heavy: str) -> list[str]:
    """Which of the `heavy` modules a fresh process has imported after `code`, the package's own `__init__` left out."""
    start = (
        "import sys, types; darl = types.ModuleType('darl'); darl.__path__ = [sys.argv[1]]; sys.modules['darl'] = darl"
    )
    end = f"import sys; print(*(name for name in {heavy.split()} if name in sys.modules))"
    command = [sys.executable, "-c", f"{start}\n{code}\n{end}", f"{__file__.rpartition('/tests/')[0]}/darl"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_configurations_need_neither_timm_nor_torchvision_nor_scipy() -> None:
    code = "\n".join(f"import {name}" for name in LIGHT) + CONFIGURE
    assert heavy_modules(code, "timm torchvision scipy") == []


@pytest.mark.parametrize("name", ["darl.model", "darl.model.register", "darl.optim"])
def test_these_do_not_even_need_torch(name: str) -> None:
    assert heavy_modules(f"import {name}", "torch timm") == []
