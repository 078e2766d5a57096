"""The interface of training objectives: how the trunk is called, what is predicted, and where the loss is computed.

An objective is one class. It builds its decoder (the parameters that it needs in addition to the encoder's), names its
random draws, and computes the loss from the encoder's primitives (`darl.model.trunk.Trunk`). Nothing else in the
package knows what is read, in which order, with which mask, or what the target is.

The paper's two objectives, MSE and diffusion, predict the next patch (`darl.model.objectives.next_patch`); their rivals
predict hidden patches from visible ones (`darl.model.objectives.masked_patches`), the next patch's embedding
(`darl.model.objectives.nepa`), or the images' labels.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from darl.errors import UserError
from darl.model.encoder_config import TrunkConfig
from darl.model.noise import Noise
from darl.model.sampling import Sampling
from darl.model.trunk import Trunk
from darl.variants import Variant

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["LABELS", "Denoiser", "Draw", "Draws", "Objective"]

Draw = Callable[[int, torch.Generator], Tensor]
"""(n, generator) → a random tensor of n rows (one per image), on the generator's device."""

Draws = Mapping[str, Tensor]
"""The random tensors drawn for a batch, by name; the first axis is the image. `LABELS` are among them if needed."""

LABELS = "labels"
"""The name among the draws under which the training loop adds the images' classes (B), for `Objective.needs_labels` and
for models that are conditioned on labels."""


_NO_IMAGES = "must predict the next patch for generation, got {!r}"


class Denoiser(NamedTuple):
    """An objective's estimates of clean patches from noisy ones, for one batch of images."""

    clean: "Float[Tensor, 'batch patches patch_dim']"
    """The patches to estimate."""
    estimate: "Callable[[Tensor, Tensor], Tensor]"
    """(noisy patches (B, N, P), signal fractions gamma (B, N)) → estimated clean patches (B, N, P)."""


@dataclass(frozen=True, kw_only=True)
class Objective(Variant):
    """A training objective."""

    family: ClassVar[str] = "objective"
    package: ClassVar[str] = "darl.model.objectives"
    uses_noise: ClassVar[bool] = False
    """Whether it needs a noise schedule."""
    can_denoise: ClassVar[bool] = False
    """Whether it predicts every patch, so that `denoiser` and the denoising evaluation are defined."""
    bidirectional: ClassVar[bool] = False
    """Whether its tokens must read those after them, too: it is refused for a causal encoder."""
    takes_prefix: ClassVar[bool] = False
    """Whether it can be trained with prefix attention, `TrunkConfig.attention`."""
    takes_context_noise: ClassVar[bool] = False
    """Whether its trunk can read noisy patches in training, `TrunkConfig.context_noise`."""
    takes_next_patches: ClassVar[bool] = False
    """Whether it can predict several next patches, `TrunkConfig.next_patches`."""
    takes_condition: ClassVar[bool] = False
    """Whether it can be conditioned on labels, `TrunkConfig.condition`."""
    takes_random_order: ClassVar[bool] = False
    """Whether it can be trained with an order for each image, `TrunkConfig.random_order`."""
    needs_labels: ClassVar[bool] = False
    """Whether its loss needs the images' labels: then `LABELS` is among the draws that `loss` is given."""
    needs_tokenizer: ClassVar[bool] = False
    """Whether it predicts tokens, so that the model needs a tokenizer (`TrunkConfig.tokenizer`)."""

    @property
    def takes_adaptive_noise(self) -> bool:
        """Whether it has `estimation_errors`, which a noise schedule that follows the losses needs."""
        return False

    @property
    def causal_by_default(self) -> bool:
        """Whether the encoder has the causal mask where nothing is said about it."""
        return not self.bidirectional

    def check(self, config: TrunkConfig) -> None:
        """Raise UserError where the objective cannot be used with this trunk. By default all are accepted."""

    @abstractmethod
    def build(self, config: TrunkConfig) -> nn.Module:
        """The decoder: a module with the objective's own parameters.

        Initial weights come from each module's `reset_parameters` (a linear map's from timm's initialisation), seeded
        by the module's name. So a bare `nn.Parameter` belongs in a module that has that method.
        """

    def draws(self, config: TrunkConfig, noise: Noise | None) -> dict[str, Draw]:
        """The random tensors that the loss needs, by name, for example a mask or noise. Empty by default.

        They are drawn for each image from a seed of its own (`darl.randomness.draw_rows`). So a resumed run, and any
        number of workers, draws what an uninterrupted run with one worker would have drawn.
        """
        return {}

    @abstractmethod
    def loss(
        self, encoder: Trunk, decoder: nn.Module, patches: "Float[Tensor, 'batch patches patch_dim']", draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """(scalar loss, prediction (B, N, P) of all patches, in the order of prediction).

        An objective that learns labels predicts class scores (B, classes); one that predicts embeddings, (B, N, W).

        Args:
            encoder: the trunk.
            decoder: the module from `build`.
            patches: the images' patches, in the patch order.
            draws: the tensors that `draws` describes, by name.

        """

    @abstractmethod
    def flops(self, config: TrunkConfig) -> float:
        """Floating-point operations of the matrix products of one image's loss, forward, the trunk's included.

        A formula, since it is evaluated for every trial; see `TrunkConfig.trunk_flops`.
        """

    def estimation_errors(self, patches: Tensor, prediction: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The patches' signal fractions, and the mean squared errors of their estimates; NaN for those without loss.

        Both (n). prediction: what `loss` gave for these patches and draws. Where `takes_adaptive_noise`.
        """
        raise UserError(
            f"must estimate clean patches for a schedule that follows the losses, got {self.kind!r}", field="objective"
        )

    def patch_errors(self, patches: Tensor, prediction: Tensor) -> "Float[Tensor, 'batch patches']":
        """The mean squared errors of the estimated patches. Where `takes_random_order`.

        prediction: what `loss` gave for these patches.
        """
        raise UserError(f"must estimate patches for orders that are learned, got {self.kind!r}", field="objective")

    def denoiser(
        self, encoder: Trunk, decoder: nn.Module, patches: Tensor, draws: Draws = MappingProxyType({})
    ) -> Denoiser:
        """The clean patches, and their estimates from noisy ones. Raises UserError unless `can_denoise`.

        draws: given to an objective that takes random orders, where the model has them: each image's order.
        """
        raise UserError(f"must predict every patch to be evaluated by denoising, got {self.kind!r}", field="objective")

    def generate(
        self,
        encoder: Trunk,
        decoder: nn.Module,
        prefix: Tensor,
        patches: int,
        how: Sampling,
        generator: torch.Generator,
    ) -> Tensor:
        """Patches (B, N, P) in the order of prediction: `prefix` (B, k, P), then patches sampled one after another.

        Args:
            encoder: the trunk, causal.
            decoder: the module from `build`.
            prefix: the first k patches, 0 <= k <= N.
            patches: N.
            how: steps, sampler and temperature, for objectives that denoise.
            generator: the source of all random numbers.

        Called where `check_drawing` raises nothing.

        """
        raise UserError(_NO_IMAGES.format(self.kind), field="objective")

    def check_drawing(self, config: TrunkConfig, how: Sampling) -> None:
        """Raise UserError where a model of this objective cannot draw images so; by default without `generate`."""
        if type(self).generate is Objective.generate:
            raise UserError(_NO_IMAGES.format(self.kind), field="objective")
