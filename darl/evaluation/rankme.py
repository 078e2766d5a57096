"""RankMe: how many dimensions the features use, without labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from darl.evaluation.protocol import Pass, Protocol
from darl.evaluation.subject import Subject, spans
from darl.metrics import RANKME, Metric
from darl.randomness import generator
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

    from darl.model.config import ModelConfig

__all__ = ["RankMeProtocol", "effective_rank"]

IMAGES = 25_600
"""Most images that the rank is measured on, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class RankMeProtocol(Protocol):
    """The effective number of dimensions of the features of validation images: `rankme`, from 1 to the width.

    RankMe (Garrido et al. 2023, arXiv 2210.02885, equation 1): the exponential of the entropy of the normalised
    singular values. Features that have collapsed into few dimensions have a low one. Needs no labels. It says that
    features are healthy, not that they are good, so no trial is ranked by it. Of more than 25,600 images, as many are
    drawn, always the same.

    block: after how many blocks the model's own pooling is read: a number, or `last`. mask: `kept`, or `removed` to
    read without the causal mask.
    """

    kind: ClassVar[str] = "rankme"
    gives: ClassVar[tuple[Metric, ...]] = (RANKME,)
    block: str = "last"
    mask: str = "kept"

    def __post_init__(self) -> None:
        known = self.block == "last" or self.block.isdecimal()
        require(known, "protocol.block", "be the number of a block, or last", self.block)
        require(self.mask in ("kept", "removed"), "protocol.mask", "be kept or removed", self.mask)

    def check(self, config: "ModelConfig") -> None:
        """See `Protocol.check`."""
        spans(self.block, config.size.depth)

    def passes(self) -> frozenset[Pass]:
        """The pass that protocols which read features make as well."""
        return frozenset({Pass("validation", f"features, mask {self.mask}")})

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """See `effective_rank`."""
        (readout,) = subject.candidates(self.block, subject.model.encoder.readout)
        x = subject.features("validation", [readout], masked=self.mask == "kept")[readout]
        if len(x) > IMAGES:  # a split may be sorted by class, so not the first ones
            x = x[torch.randperm(len(x), generator=generator("rankme"))[:IMAGES].to(x.device)]
        with torch.autocast(subject.device.type, enabled=False):
            return {RANKME.column: effective_rank(x)}


def effective_rank(x: "Float[torch.Tensor, 'images width']") -> float:
    """The exponential of the entropy of the singular values, normalised to a sum of 1; 0 for features that are all 0.

    The features are not centred. The singular values are the roots of the eigenvalues of the smaller of the two
    products `x @ x.T` and `x.T @ x`, in float64. Values below rounding, 1e-7 of the sum, add nothing visible: the
    paper's constant of that size is left out.
    """
    x = x.double()
    squares = torch.linalg.eigvalsh(x @ x.T if len(x) <= x.shape[1] else x.T @ x)
    values = squares.clamp(min=0).sqrt()
    if not (total := values.sum()):
        return 0.0
    shares = values / total
    return torch.special.entr(shares).sum().exp().item()
