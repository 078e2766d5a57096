"""The default evaluation of pretrainings and sweeps."""

from darl.evaluation.denoising import Denoising
from darl.evaluation.knn import Knn
from darl.evaluation.linear import Linear
from darl.evaluation.protocol import Protocols

__all__ = ["standard"]


def standard(*, enlarged: bool = False) -> Protocols:
    """Linear probe, kNN, and a validation loss that does not depend on the noise schedule.

    enlarged: whether the linear probe is also tested on enlarged images.
    """
    return Protocols((Linear(enlarged=enlarged), Knn(), Denoising()))
