"""How far drawn images are from real ones, by the features of both: numbers of the field, on any features.

Features are (images, width). Published code computes the same: torch-fidelity's `metric_fid.py`, `metric_kid.py` and
`metric_prc.py`, whose functions take features, too; it is not required here for the sake of these lines.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Coverage", "frechet_distance", "kernel_distance", "precision_recall"]


def frechet_distance(x: "Float[Tensor, 'n width']", y: "Float[Tensor, 'm width']") -> float:
    """|mean x - mean y|² + tr(S_x + S_y - 2 (S_x S_y)^½) of Gaussians fitted to both (Heusel et al. 2017). 0 or more.

    It falls with the number of images for the same distributions: compare it only with one of as many images. In
    float64; the trace is that of the symmetric S_x^½ S_y S_x^½, whose eigenvalues are those of the product.
    """
    x, y = x.double(), y.double()
    values, vectors = torch.linalg.eigh(x.T.cov(correction=1))
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    other = y.T.cov(correction=1)
    shared = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    return max(0.0, (apart + values.sum() + other.trace() - 2 * shared).item())


def kernel_distance(x: "Float[Tensor, 'n width']", y: "Float[Tensor, 'm width']") -> float:
    """The unbiased squared maximum mean discrepancy by the kernel (x·y / width + 1)³ (KID, Bińkowski et al. 2018).

    Of all images at once, not a mean over subsets. Its expectation for equal distributions is 0 whatever their number,
    so it may be negative.
    """
    x, y = x.double(), y.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.trace()) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * kernel(x, y).mean()).item()


class Coverage(NamedTuple):
    """Of drawn images against real ones, both in [0, 1]."""

    precision: float
    """The part of the drawn images that lie among the real ones: how real they look."""
    recall: float
    """The part of the real images that lie among the drawn ones: how much of the variety is drawn."""


def precision_recall(
    drawn: "Float[Tensor, 'n width']", real: "Float[Tensor, 'm width']", neighbours: int = 3
) -> Coverage:
    """Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 to 3).

    An image lies among a set if it is within the distance of some member to that member's `neighbours`-th neighbour.
    """
    drawn, real = drawn.double(), real.double()

    def among(points: Tensor, members: Tensor) -> float:
        radius = torch.cdist(members, members).kthvalue(neighbours + 1, dim=1).values  # the nearest is itself
        return (torch.cdist(points, members) <= radius).any(dim=1).double().mean().item()

    return Coverage(among(drawn, real), among(real, drawn))
