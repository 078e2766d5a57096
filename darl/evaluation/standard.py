"""The default evaluation of pretrainings and sweeps."""

from darl.evaluation.denoising import DenoisingProtocol
from darl.evaluation.few_shot import FewShotProtocol
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import LinearProtocol
from darl.evaluation.protocol import Protocols
from darl.evaluation.rankme import RankMeProtocol

__all__ = ["standard_evaluation"]


def standard_evaluation(*, enlarged: bool = False) -> Protocols:
    """Linear probe, kNN, few labels, RankMe, and a validation loss that does not depend on the noise schedule.

    enlarged: whether the linear probe is also tested on enlarged images.
    """
    return Protocols(
        (
            LinearProtocol(enlarged=enlarged),
            KnnProtocol(),
            FewShotProtocol(),
            DenoisingProtocol(),
            RankMeProtocol(),
        )
    )
