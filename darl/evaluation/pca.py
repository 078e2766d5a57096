"""Principal components of features that are put side by side."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from darl.randomness import generator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["COMPONENTS", "Projection", "components_of"]

COMPONENTS = 256
"""Most components where their number is not given."""

FITTED_ON = 10_000
"""Most images that the components are fitted on."""

SMALLEST = 1e-10
"""Components whose variance is smaller than this share of the largest are rounding errors, and left out."""


def components_of(pooling: str) -> int | None:
    """The number in `pca64`, 256 for `pca`; None for other poolings, and for `pca0`."""
    match = re.fullmatch(r"pca(\d*)", pooling)
    return None if match is None else int(match[1] or COMPONENTS) or None


@dataclass(frozen=True, eq=False)
class Projection:
    """The projection on principal components, largest variance first; not whitened."""

    mean: "Float[torch.Tensor, ' width']"
    components: "Float[torch.Tensor, 'width components']"

    @classmethod
    def fit(cls, x: "Float[torch.Tensor, 'images width']", most: int) -> Self:
        """At most `most` components, exact and deterministic: eigenvectors of the smaller product, in float64.

        Of more than 10,000 images as many are drawn, always the same. As scikit-learn's, a component has the sign that
        makes its largest number positive.
        """
        if len(x) > FITTED_ON:
            x = x[torch.randperm(len(x), generator=generator("pca"))[:FITTED_ON].to(x.device)]
        mean = x.double().mean(0)
        centred = x.double() - mean
        few = len(x) < x.shape[1]
        values, vectors = torch.linalg.eigh(centred @ centred.T if few else centred.T @ centred)
        values, vectors = values.flip(0)[:most], vectors.flip(1)[:, :most]
        vectors = vectors[:, values > SMALLEST * values[:1]]
        components = torch.nn.functional.normalize(centred.T @ vectors, dim=0) if few else vectors
        largest = components.gather(0, components.abs().argmax(0, keepdim=True))
        return cls(mean.to(x), (components * largest.sign()).to(x))

    def __call__(self, x: "Float[torch.Tensor, 'images width']") -> "Float[torch.Tensor, 'images components']":
        """The images' coordinates."""
        return (x - self.mean) @ self.components
