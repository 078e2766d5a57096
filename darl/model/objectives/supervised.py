"""Supervised training from scratch: the readout of the whole image predicts its label.

    read       all N patches
    trunk      z = Transformer(all), by default every token reads every other
    decoder    readout(z) -> class scores, one linear map

It is a yardstick for pretraining: what the same encoder learns on the same images from their labels. Label smoothing is
that of DeiT (Touvron et al. 2021, arXiv 2012.12877) and of MAE's ViT from scratch (He et al. 2022, table 11). Their
mixup, CutMix, RandAugment and stochastic depth are left out: images are augmented as for every other objective.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.encoder_config import TrunkConfig
from darl.model.objectives.base import LABELS, Draws, Objective
from darl.model.trunk import Trunk
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Classifier", "Supervised"]


@dataclass(frozen=True, kw_only=True)
class Supervised(Objective):
    """Classification of the training labels.

    label_smoothing: the share of the target that is spread evenly over all classes, in [0, 1).
    """

    kind: ClassVar[str] = "supervised"
    needs_labels: ClassVar[bool] = True
    label_smoothing: float = changes(Aspect.LOSS, default=0.1)

    def __post_init__(self) -> None:
        fits = 0 <= self.label_smoothing < 1
        require(fits, "objective.label_smoothing", "be in [0, 1)", self.label_smoothing)

    @property
    def causal_by_default(self) -> bool:
        """False, as in the field's supervised ViTs; with the mask it can be trained, too."""
        return False

    def build(self, config: TrunkConfig) -> "Classifier":
        """Raises UserError where the number of classes is not known."""
        require(config.classes is not None, "classes", f"be given for objective {self.kind}", config.classes)
        assert config.classes is not None
        return Classifier(config.size.width, config.classes, config.size.readout)

    def loss(self, encoder: Trunk, decoder: nn.Module, patches: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy with smoothed labels, class scores (B, classes)). Raises UserError without labels."""
        remedy = f"hold {LABELS!r}, the images' classes (batch), for objective {self.kind}"
        require(LABELS in draws, "draws", remedy, sorted(draws))
        scores = decoder(encoder.trunk(encoder.embed(patches, encoder.grid), encoder.grid)[:, 1:])
        return F.cross_entropy(scores, draws[LABELS], label_smoothing=self.label_smoothing), scores

    def flops(self, config: TrunkConfig) -> float:
        """`TrunkConfig.trunk_flops` of N patches, and 2WC for C classes; where C is not known yet, without these."""
        return config.trunk_flops(config.patches) + 2 * config.size.width * (config.classes or 0)


class Classifier(nn.Module):
    """The linear head on the encoder's readout."""

    def __init__(self, width: int, classes: int, readout: str):
        super().__init__()
        self.readout = readout
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: "Float[Tensor, 'batch patches width']") -> "Float[Tensor, 'batch classes']":
        """Class scores. tokens: the encoder's outputs of the patches, in the patch order."""
        return self.head(tokens.mean(1) if self.readout == "mean" else tokens[:, -1])
