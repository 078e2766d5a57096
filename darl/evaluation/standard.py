"""The evaluation that a pretraining and a sweep make unless they are told otherwise."""

from darl.evaluation.denoising import Denoising
from darl.evaluation.knn import Knn
from darl.evaluation.linear import Linear
from darl.evaluation.protocol import Protocols

__all__ = ["standard"]


def standard(*, enlarged: bool = False) -> Protocols:
    """Linear probe, kNN, and a validation loss that does not depend on the noise schedule.

    enlarged: try the linear probe also on enlarged images.
    """
    return Protocols((Linear(enlarged=enlarged), Knn(), Denoising()))
