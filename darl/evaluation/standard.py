"""The default evaluation of pretrainings and sweeps."""

from dataclasses import replace

from darl.evaluation.denoising import DenoisingProtocol
from darl.evaluation.few_shot import FewShotProtocol
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import LinearProtocol
from darl.evaluation.protocol import Protocol, Protocols
from darl.evaluation.rankme import RankMeProtocol
from darl.variants import require

__all__ = ["evaluation_of", "standard_evaluation"]


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


def evaluation_of(protocols: str | None, metric: str | None = None, *, enlarged: bool = False) -> Protocols:
    """The evaluation that a command is asked for. Raises UserError.

    Args:
        protocols: as text; None or empty for the standard ones, and the one that gives `metric`.
        metric: a metric that must be measured.
        enlarged: whether the linear probe is also tested on enlarged images.

    """
    if not protocols:
        standard = standard_evaluation(enlarged=enlarged)
        if metric is None or metric in {each.column for each in standard.gives}:
            return standard
        return Protocols((*standard.members, Protocol.giving(metric)()))
    given = Protocols.parse(protocols)
    if metric is not None:
        kind = Protocol.giving(metric).kind
        remedy = f"measure the deciding metric {metric}: add {kind}"
        require(metric in {each.column for each in given.gives}, "protocols", remedy, protocols)
    members = [replace(each, enlarged=True) if isinstance(each, LinearProtocol) and enlarged else each
               for each in given.members]  # fmt: skip
    return Protocols(tuple(members))
