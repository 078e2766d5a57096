"""DARL-on-Ray: pretraining and sweeps for denoising autoregressive representation learning.

`darl.Experiment`, `darl.create_model`, `darl.load` and the subpackages (`darl.results`, `darl.data` …) are imported
when they are first used (PEP 562): `import darl` takes no time and needs neither torch nor Ray.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from darl.model.register import register

if TYPE_CHECKING:
    from darl import data, metrics, results
    from darl.experiment import Experiment
    from darl.model.factory import create_model
    from darl.training.pretrained_encoder import load

__all__ = ["Experiment", "create_model", "data", "load", "metrics", "results"]
__version__ = "0.1.0"

_LAZY = {
    "Experiment": "darl.experiment",
    "create_model": "darl.model.factory",
    "load": "darl.training.pretrained_encoder",
}
"""The modules that define the public names."""

register()  # `timm.create_model("darl_…")`, whichever of the two is imported first


def __getattr__(name: str) -> Any:
    """Import a public name, a module or a subpackage at its first use."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _parts():
        return import_module(f"darl.{name}")
    raise AttributeError(f"module 'darl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_parts()})


def _parts() -> set[str]:
    """Names of the modules and subpackages of this package."""
    return {module.name for module in iter_modules(__path__)}
