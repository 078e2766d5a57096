"""What the objectives that predict in order share: a random prefix, which reads itself without mask (AIM).

The trunk reads N tokens, the start token and all patches but the last. With `attention` prefix, the first of them read
one another (`darl.model.prefix_attention`): for each image 1 to N, drawn anew at every step, each as likely as another.
With 1 the image is read causally, with N wholly without mask. Outputs of the prefix have seen their targets, all but
its last one; they do not count in the loss (El-Nouby et al. 2024, arXiv 2401.08541, "Prefix Transformer").

The loss is the sum over the patches that count, divided by how many of them are expected, (N + 1) / 2 an image. So each
patch that counts has the same weight, and the losses of micro-batches and workers add up to that of the whole batch.

Diffusion on digits (settings as in `EncoderConfig`), features read without mask: with a prefix 98.0 % by linear probe
and 84.8 % with 5 labels a class, causal 98.0 % and 83.5 % (differences by seed in the latter +1.4, +2.2, +0.1 points);
the causal model with its mask has 97.7 and 84.5 %. Three seeds decide nothing.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.model.encoder_config import PREFIX, TrunkConfig
from darl.model.objectives.base import Draw, Draws

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["counted", "mean", "prefix_draws", "squared_error"]


def prefix_draws(config: TrunkConfig) -> dict[str, Draw]:
    """For each image `prefix` (B), the number of tokens that read one another, the start token counted; else none."""

    def prefix(count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(1, config.patches + 1, (count,), generator=generator, device=generator.device)

    return {PREFIX: prefix} if config.attention == PREFIX else {}


def counted(draws: Draws, patches: int) -> "Bool[Tensor, 'batch patches'] | None":
    """Which of each image's patches count in the loss; None where all do."""
    prefix: Int[Tensor, " batch"] | None = draws.get(PREFIX)
    return None if prefix is None else torch.arange(1, patches + 1, device=prefix.device) >= prefix[:, None]


def mean(losses: "Float[Tensor, 'batch patches']", draws: Draws) -> Tensor:
    """The mean over all patches; with a prefix, over those that count (see the module's docstring)."""
    patches = losses.shape[1]
    counts = counted(draws, patches)
    return losses.mean() if counts is None else (losses * counts).mean() * (2 * patches / (patches + 1))


def squared_error(
    prediction: "Float[Tensor, 'batch patches patch_dim']",
    target: "Float[Tensor, 'batch patches patch_dim']",
    draws: Draws,
) -> Tensor:
    """The mean squared error, over patches as `mean`."""
    if PREFIX not in draws:
        return F.mse_loss(prediction, target)
    return mean(F.mse_loss(prediction, target, reduction="none").mean(2), draws)
