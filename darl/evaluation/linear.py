"""Linear probe: multinomial logistic regression on the frozen readout."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.protocol import READOUTS, Need, Pass, Protocol
from darl.evaluation.subject import Subject
from darl.metrics import ENLARGED_PROBE, PROBE, Metric
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["LinearProbe", "LinearProtocol", "enlarged_size"]

ENLARGEMENT = 1.5


def enlarged_size(image_size: int, patch_size: int) -> int:
    """1.5 times the image size, rounded up to whole patches: 12 for 8, 48 for 32, 336 for 224 pixels."""
    return math.ceil(ENLARGEMENT * image_size / patch_size) * patch_size


@dataclass(frozen=True, kw_only=True)
class LinearProtocol(Protocol):
    """Top-1 of a linear classifier on the frozen readout, in [0, 1].

    penalty: L2 penalty on the weights. iterations: the most iterations of L-BFGS. enlarged: whether the probe, fitted
    at the size of training, is also tested on validation images enlarged 1.5 times (`probe_top1_enlarged`).
    """

    kind: ClassVar[str] = "linear"
    gives: ClassVar[tuple[Metric, ...]] = (PROBE, ENLARGED_PROBE)
    needs: ClassVar[frozenset[Need]] = frozenset({Need.LABELS})
    penalty: float = 1e-4
    iterations: int = 100
    enlarged: bool = False

    def __post_init__(self) -> None:
        require(self.penalty >= 0, "protocol.penalty", "be 0 or more", self.penalty)
        require(self.iterations >= 1, "protocol.iterations", "be at least 1", self.iterations)

    def passes(self) -> frozenset[Pass]:
        """The readouts of both splits; an enlarged image costs as much more as its area is larger."""
        return READOUTS | {Pass("validation", "enlarged readouts", ENLARGEMENT**2)} if self.enlarged else READOUTS

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """The readouts follow autocast; the probe is float32 in any case."""
        x, y = subject.readouts("train")
        test_x, test_y = subject.readouts("validation")
        with torch.autocast(subject.device.type, enabled=False):
            probe = LinearProbe.fit(x, y, subject.classes, penalty=self.penalty, iterations=self.iterations)
            result = {PROBE.column: probe.top1(test_x, test_y)}
        if self.enlarged:
            size = enlarged_size(subject.model.image_size[0], subject.model.patch_size)
            larger_x, _ = subject.readouts("validation", size)
            with torch.autocast(subject.device.type, enabled=False):
                result[ENLARGED_PROBE.column] = probe.top1(larger_x, test_y)
        return result


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Multinomial logistic regression on standardised features."""

    mean: "Float[Tensor, ' width']"
    std: "Float[Tensor, ' width']"
    weight: "Float[Tensor, 'width classes']"
    bias: "Float[Tensor, ' classes']"

    @classmethod
    def fit(
        cls,
        x: "Float[Tensor, 'images width']",
        y: "Int[Tensor, ' images']",
        classes: int,
        *,
        penalty: float = 1e-4,
        iterations: int = 100,
    ) -> "LinearProbe":
        """Full-batch L-BFGS from zero with an L2 penalty: convex and deterministic, with no learning rate to tune."""
        std, mean = torch.std_mean(x, dim=0, correction=0)
        std = std.clamp(min=1e-6)
        x = (x - mean) / std
        weight = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
        bias = torch.zeros(classes, device=x.device, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-7
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(torch.addmm(bias, x, weight), y) + penalty * weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)  # pyright: ignore[reportArgumentType]
        return cls(mean, std, weight.detach(), bias.detach())

    def top1(self, x: "Float[Tensor, 'images width']", y: "Int[Tensor, ' images']") -> float:
        """The fraction of images whose class has the highest score, in [0, 1]."""
        scores = torch.addmm(self.bias, (x - self.mean) / self.std, self.weight)
        return (scores.argmax(1) == y).double().mean().item()
