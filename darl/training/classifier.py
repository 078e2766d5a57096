"""The model that is fine-tuned: the encoder with a classifier, from timm's parts.

Its weights have the names of timm's encoder (`darl.model.timm_encoder`), so `timm.create_model("darl_…",
checkpoint_path=…)` takes them. With attentive pooling they have three tensors more, and `darl.load` takes them.
"""

import torch
from timm.layers import DropPath
from torch import Tensor

from darl.experiment import Experiment
from darl.finetuning import Finetuning
from darl.model.attentive_pooling import AttentivePooling
from darl.model.encoder_config import TrunkConfig
from darl.model.initial_weights import initialize
from darl.model.timm_encoder import TimmEncoder
from darl.randomness import draw_rows

__all__ = ["Classifier", "build_classifier"]

_POOLS = {"mean": "avg", "last": "token"}


class Classifier(TimmEncoder):
    """The encoder with a linear classifier on its readout or on an attentive pooling of all patch tokens."""

    def __init__(self, trunk: TrunkConfig, finetuning: Finetuning, classes: int):
        super().__init__(
            trunk.size,
            img_size=trunk.image_size,
            patch_size=trunk.size.patch_size,
            in_chans=trunk.channels,
            num_classes=classes,
            global_pool=_POOLS[trunk.size.readout],
            drop_path_rate=finetuning.drop_path,
            order=str(trunk.order),
            position=str(trunk.position),
            causal=trunk.causal,
            tokenizer=str(trunk.tokenizer) if trunk.token_input else None,
        )
        self.pooling = AttentivePooling(trunk.size.width, trunk.size.heads) if finetuning.attentive else None
        for block in self.blocks:
            if isinstance(block.drop_path, DropPath):
                block.drop_path = RowDropPath(block.drop_path.drop_prob)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Class scores (B, classes), or the readout (B, W) with `pre_logits`."""
        if self.pooling is None:
            return super().forward_head(x, pre_logits)
        x = self.pooling(x)
        return x if pre_logits else self.head(x)

    def draw_paths(self, rows: range, *purpose: int | str) -> None:
        """Draw which rows of a batch leave out which branches, for the next forward pass.

        A row's draws depend only on `purpose` and the row, as all random numbers of a run do.
        """
        paths = [block.drop_path for block in self.blocks if isinstance(block.drop_path, RowDropPath)]
        if paths:
            shape = (len(paths), 2)
            drawn = draw_rows(lambda n, g: torch.rand(n, *shape, generator=g), rows, *purpose, "drop path")
            for number, path in enumerate(paths):
                path.uniform, path.second = drawn[:, number].to(self.start_token.device), False


class RowDropPath(DropPath):
    """timm's DropPath, with the random numbers given: timm draws them from torch's global generator.

    A block calls it twice, for its attention and for its MLP.
    """

    uniform: Tensor | None = None
    """(rows, 2), in [0, 1)."""
    second: bool = False
    """Whether the next call is a block's second."""

    def forward(self, x: Tensor) -> Tensor:
        """The rows that are kept, scaled so that the mean is as without."""
        if not self.training or self.uniform is None:
            return x
        keep, drawn = 1 - float(self.drop_prob or 0), self.uniform[:, int(self.second)]
        self.second = not self.second
        kept = (drawn < keep).to(x.dtype) / keep
        return x * kept.view(-1, *[1] * (x.ndim - 1))


def build_classifier(experiment: Experiment, classes: int) -> Classifier:
    """The classifier of a fine-tuning's experiment, initialised from the seed."""
    assert experiment.finetuning is not None
    model = Classifier(experiment.model_config, experiment.finetuning, classes)
    initialize(model, experiment.seed)
    return model
