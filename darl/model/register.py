"""Registers darl's encoders with timm, whichever of the two packages is imported first.

`import darl` must not import timm, which takes two seconds. So the names are registered when timm is imported.
"""

import importlib

from wrapt import register_post_import_hook

__all__ = ["register"]


def register() -> None:
    """Register the models `darl_…` with timm: now if timm is imported already, else when it is imported."""
    register_post_import_hook(_register, "timm")


def _register(timm: object) -> None:
    importlib.import_module("darl.model.timm_models")
