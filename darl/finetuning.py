"""What fine-tuning has beside the other fields of an experiment: layer decay, stochastic depth, readout, augmentation.

An experiment with these settings trains a classifier of the same encoder instead of pretraining it. Its `causal` and
`model.readout` are those of the classifier, and its `init` is the hash of the pretrained weights, None for training
from random weights.
"""

from dataclasses import dataclass

from darl.aspects import Aspect, changes
from darl.variants import require

__all__ = ["Finetuning"]


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """Settings of fine-tuning. The defaults are MAE's for a base model (He et al. 2022, table 9)."""

    source: str | None = changes(Aspect.TRAINING, default=None)
    """The trial id of the pretraining that the weights come from; None for training from random weights."""
    layer_decay: float = changes(Aspect.TRAINING, default=0.65)
    """Each layer's learning rate is this times that of the layer above it, in (0, 1]; 1 for one rate."""
    drop_path: float = changes(Aspect.TRAINING, default=0.1)
    """Stochastic depth of the last block, rising linearly from 0 for the first; in [0, 1)."""
    attentive: bool = changes(Aspect.MODEL, default=False)
    """Whether a learned query reads the patch tokens by attention, instead of the model's readout."""
    rand_augment: str = changes(Aspect.TRAINING, default="rand-m9-mstd0.5-inc1")
    """timm's text for RandAugment; empty for none."""
    erasing: float = changes(Aspect.TRAINING, default=0.25)
    """Probability of random erasing (Zhong et al. 2020), in [0, 1]."""
    mixup: float = changes(Aspect.TRAINING, default=0.8)
    """Mixup's alpha (Zhang et al. 2018); 0 for none."""
    cutmix: float = changes(Aspect.TRAINING, default=1.0)
    """CutMix's alpha (Yun et al. 2019); 0 for none. With both, each pair of images gets one of them."""
    smoothing: float = changes(Aspect.TRAINING, default=0.1)
    """Label smoothing, in [0, 1)."""

    def __post_init__(self) -> None:
        require(0 < self.layer_decay <= 1, "finetuning.layer_decay", "be in (0, 1]", self.layer_decay)
        for name in ("drop_path", "smoothing"):
            require(0 <= getattr(self, name) < 1, f"finetuning.{name}", "be in [0, 1)", getattr(self, name))
        require(0 <= self.erasing <= 1, "finetuning.erasing", "be in [0, 1]", self.erasing)
        for name in ("mixup", "cutmix"):
            require(getattr(self, name) >= 0, f"finetuning.{name}", "be 0 or more", getattr(self, name))

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0
