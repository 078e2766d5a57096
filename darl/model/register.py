"""timm knows darl's encoders by name once both are imported, in either order.

`import darl` must not import timm, which takes two seconds. So the names are registered when timm is imported.
"""

import importlib

from wrapt import register_post_import_hook

__all__ = ["register"]


def register() -> None:
    """Register `darl_…` with timm: now where timm is imported already, else right after it is."""
    register_post_import_hook(_register, "timm")


def _register(timm: object) -> None:
    importlib.import_module("darl.model.timm_models")
