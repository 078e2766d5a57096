"""Labels as a condition: a vector for each class, added to the start token.

In training a share `DROPPED` of the images, drawn anew at every step, is read without its label: with the start token
as it is, which so is the null class (classifier-free guidance, Ho & Salimans 2022, arXiv 2207.12598, algorithm 1). So a
model draws images of a class and images of none. Features are those without label: the vectors are part of the decoder,
and whoever reads features has neither them nor labels.

Digits by `--recipe quick` with uniform noise and gamma-conditioning, one seed: of 500 drawn digits, 50 a class, a
linear classifier of the training pixels (95.3 % right on held-out digits) takes 92.0 % for their class, with guidance 2
and 4 99.4 and 99.2 %; the mean deviation of a pixel within a class is 0.137, 0.099 and 0.076, of held-out digits 0.158.
So guidance buys likeness to the class with variety. Features: linear probe 98.1 %, with 5 labels a class 83.3 %.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.model.encoder_config import TrunkConfig
from darl.model.objectives.base import LABELS, Draw, Draws
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["DROPPED", "ClassCondition", "label_draws"]

DROPPED = 0.1
"""The share of images that are read without their label in training."""

_KEPT = "label_kept"
"""The name among the draws of which images keep their label."""


def label_draws(config: TrunkConfig) -> dict[str, Draw]:
    """With a condition, for each image whether it keeps its label (B); else none."""

    def kept(count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, generator=generator, device=generator.device) >= DROPPED

    return {} if config.condition is None else {_KEPT: kept}


class ClassCondition(nn.Module):
    """A vector for each class."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(classes, width))

    def reset_parameters(self) -> None:
        """The initialisation of a learned token."""
        nn.init.normal_(self.vectors, std=0.02)

    def forward(self, labels: "Int[Tensor, ' batch']") -> "Float[Tensor, 'batch width']":
        """What is added to the start tokens of images of these classes."""
        return F.embedding(labels, self.vectors)  # plain indexing has a gradient that depends on the timing of threads

    def of_draws(self, draws: Draws) -> Tensor | None:
        """The same in training, zero for an image whose label is dropped; None where labels are not given."""
        if LABELS not in draws:
            return None
        added = self(draws[LABELS])
        return added * draws[_KEPT].unsqueeze(1) if _KEPT in draws else added

    def of_drawing(self, labels: tuple[int, ...], *, guided: bool) -> Tensor:
        """(B, W) for images to draw; where guided (2B, W), zeros after them."""
        classes = len(self.vectors)
        for label in labels:
            require(0 <= label < classes, "labels", f"be classes from 0 to {classes - 1}", label)
        added = self(torch.tensor(labels, device=self.vectors.device))
        return torch.cat([added, torch.zeros_like(added)]) if guided else added
