"""The family of dense protocols: a pretrained model judged on images with masks or boxes.

A dense protocol opens its own kind of data (`darl.data.dense`), so it is no `darl.evaluation.protocol.Protocol`, whose
members share one labelled data set and its features in the evaluations of a sweep. `darl evaluate` takes either. A new
dense protocol is one class in one file of this package; what it is made of lies in a folder below, since every command
that is given protocols imports the files here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from darl.metrics import Metric
from darl.variants import Variant, require

if TYPE_CHECKING:
    import torch

    from darl.evaluation.protocol import Value
    from darl.model.config import ModelConfig
    from darl.model.darl import Darl

__all__ = ["DenseProtocol", "Setting", "image_side", "named_in"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a measurement is made with, besides model and data."""

    mean: tuple[float, ...]
    """Of the pixels in [0, 1] per channel, by which the model's images were normalised."""
    std: tuple[float, ...]
    device: torch.device
    loader_workers: int = 0
    """Decoding processes."""


@dataclass(frozen=True, kw_only=True)
class DenseProtocol(Variant):
    """One way of measuring a pretrained model on images with masks or boxes."""

    family: ClassVar[str] = "protocol"
    package: ClassVar[str] = "darl.evaluation.dense"
    gives: ClassVar[tuple[Metric, ...]]
    """The metrics that it measures."""
    chooses: ClassVar[tuple[str, ...]] = ()
    """Columns of text that say what it has chosen."""
    reads: ClassVar[str]
    """Its data in words, with the form of its name: `images with boxes (coco:FOLDER)`."""

    def check(self) -> None:
        """Raise UserError, naming the extra, where a package that it needs is not installed. By default none is."""

    @abstractmethod
    def load(self, data: str) -> Any:
        """The data of this name, for the other methods. Raises UserError."""

    @abstractmethod
    def measure(self, model: Darl, data: Any, setting: Setting) -> Mapping[str, Value]:
        """Metrics and choices by column: those of `gives` that the data allows. The model stays as it was.

        Deterministic: random numbers come from generators of its own. Raises UserError.
        """

    def yardsticks(self, model: Darl, data: Any, setting: Setting) -> Mapping[str, Value]:
        """The same metrics for raw pixels, in patches of the model's, by `Metric.pixels_column`; none by default."""
        return {}

    @abstractmethod
    def flops(self, data: Any, config: ModelConfig) -> float:
        """Floating-point operations of `measure` for a model of this configuration."""


def image_side(size: int, config: ModelConfig) -> int:
    """The side in pixels of the images that a model reads: `size`, or its own for 0. Raises UserError."""
    side, patch = size or max(config.image_size), config.size.patch_size
    require(side % patch == 0, "protocol.size", f"be a multiple of the patch size {patch}", side)
    return side


def named_in(text: str) -> str | None:
    """The first dense protocol that a text such as `linear,segmentation:block=2` names; None without one."""
    names = [part.partition(":")[0].strip() for part in text.split(",")]
    return next((name for name in names if name in DenseProtocol.kinds()), None)
