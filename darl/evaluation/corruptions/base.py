"""The interface of corruptions, after Hendrycks and Dietterich 2019 (arXiv 1903.12261).

Each follows the authors' code (hendrycks/robustness, `ImageNet-C/create_c`): `make_imagenet_c.py` has strengths for
images of 224 pixels, `make_cifar_c.py` for 32. Images of another size take those of the nearer one, with lengths in
proportion to their size. Pixels are rounded where the authors' code truncates them. Snow, frost, fog, glass blur,
spatter and elastic deformation are left out: they need photographs, or libraries that are not used here.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from darl.randomness import generator
from darl.variants import Variant, require

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

__all__ = ["SEVERITIES", "Corruption", "as_bytes"]

SEVERITIES = range(1, 6)

SMALL, LARGE = 32, 224
"""The image sizes, in pixels, that strengths are given for."""


@dataclass(frozen=True, kw_only=True)
class Corruption(Variant):
    """One way in which images go bad."""

    family: ClassVar[str] = "corruption"
    package: ClassVar[str] = "darl.evaluation.corruptions"
    small: ClassVar[Sequence[Any]]
    """Strengths of the five severities for images of 32 pixels."""
    large: ClassVar[Sequence[Any]]
    """Strengths for images of 224 pixels."""
    colour: ClassVar[bool] = False
    """Whether it changes nothing but colours, so that grey images have none."""

    def __call__(
        self, pixels: "UInt8[Tensor, 'batch channels size size']", severity: int, indices: Sequence[int]
    ) -> "UInt8[Tensor, 'batch channels size size']":
        """The corrupted images.

        severity: from 1, the mildest, to 5. indices: the number of each image in its split, which seeds its random
        draws.
        """
        require(severity in SEVERITIES, "severity", "be 1 to 5", severity)
        size = pixels.shape[-1]
        table, reference = (self.small, SMALL) if size * size < SMALL * LARGE else (self.large, LARGE)
        return as_bytes(self.apply(pixels.float() / 255, table[severity - 1], size / reference, indices))

    @abstractmethod
    def apply(
        self, x: "Float[Tensor, 'batch channels size size']", strength: Any, scale: float, indices: Sequence[int]
    ) -> "Float[Tensor, 'batch channels size size']":
        """The corrupted images; values outside [0, 1] are cut off afterwards.

        Args:
            x: images in [0, 1].
            strength: the severity's entry of `small` or `large`.
            scale: by how much images are larger than those that `strength` is given for.
            indices: see `__call__`.

        """

    def draw(self, indices: Sequence[int], each: Callable[[torch.Generator], Tensor]) -> Tensor:
        """A random tensor for each image: of its own index and the kind of corruption, the same for all severities."""
        return torch.stack([each(generator("corruption", self.kind, int(index))) for index in indices])


def as_bytes(x: "Float[Tensor, '*shape']") -> "UInt8[Tensor, '*shape']":
    """Values in [0, 1] as levels from 0 to 255, rounded; others are cut off."""
    return (255 * x.clamp(0, 1)).round().to(torch.uint8)
