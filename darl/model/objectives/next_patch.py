"""Next-patch prediction: patch t is predicted from z_t, the trunk's output after all patches before t (DARL, sec. 3).

    read       [start, x_1 … x_{N-1}]   patches in the order of prediction, shifted by a start token, the last dropped
    trunk      z_t = Transformer(x_{<t})
    decoder    z_t -> x_t

MSE:        loss = |f(z_t) - x_t|².
Diffusion:  gamma ~ noise schedule, eps ~ N(0, I), y = sqrt(gamma) x_t + sqrt(1 - gamma) eps;
            loss = |D(z_t, y) - x_t|², with D the *denoising patch decoder*. Each patch has its own gamma and eps.
At gamma = 0 the noisy patch y does not depend on x_t, and the diffusion objective is the MSE objective.

With *context noise* of deviation s (off by default), the trunk reads x + s eps' in training, with normal noise eps' for
each value, and predicts the clean patches. A model that draws an image reads what it has drawn itself, never clean
patches (exposure bias); noise in training makes it robust against its errors (Pasini et al. 2024, arXiv 2411.18447, who
put it on embeddings). With s = 0.1, diffusion on digits (settings and figures as in `EncoderConfig`) had 97.9 % (-0.3,
+0.8, 0) by linear probe and 85.1 % (-0.2, +2.9, -1.0) with 5 labels a class; what it does to drawings is not measured.

With *several next patches* (off by default) z_t also predicts x_{t+1} … x_{t+k-1}, each by a decoder of its own, as the
heads of multi-token prediction (Gloeckle et al. 2024, arXiv 2404.19737). The loss is the mean over the k decoders, each
one's over the patches that there are; those of diffusion denoise the same noisy patch. Features, estimates and drawings
are the first decoder's. With k = 2 diffusion on digits had 98.1 % (+0.3, +0.6, +0.6) by linear probe and 84.4 % (-1.4,
-0.1, +0.9) with 5 labels a class; three seeds decide nothing.

Layouts: B batch, N patches in the order of prediction, W width, P pixel values of a patch, H heads, D head width.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from darl.model.encoder_config import PREFIX, TrunkConfig
from darl.model.noise import Noise
from darl.model.objectives.base import Denoiser, Draw, Draws
from darl.model.objectives.condition import ClassCondition, label_draws
from darl.model.objectives.pixels import PixelObjective
from darl.model.objectives.prefix import prefix_draws
from darl.model.order_readers import OrderReader
from darl.model.random_orders import DRAWN
from darl.model.sampling import Sampling, sample_patches
from darl.model.trunk import Trunk
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["NextPatch", "PatchDecoder"]

_CONTEXT_NOISE = "context_noise"
"""The name of the context noise among the draws."""


class PatchDecoder(nn.Module):
    """A decoder that predicts a patch from the trunk's output for it (the context).

    reader: with random orders, what reads them, with what it learns; else None.
    """

    per_patch: ClassVar[tuple[str, ...]] = ()
    """The names of the draws that `loss` reads for each patch, (B, N, …)."""

    def __init__(self, config: TrunkConfig):
        super().__init__()
        self.reader = None if config.random_order is None else config.random_order.build(config)
        self.ahead = nn.ModuleList()
        """The decoders of the patches after the next, nearest first; see `NextPatch.complete`."""
        self.condition: ClassCondition | None = None
        """The classes' vectors of a model that is conditioned on labels."""

    @abstractmethod
    def prepare(self, context: "Float[Tensor, 'batch patches width']") -> object:
        """What `denoise` needs from the context, computed once for any number of noise levels."""

    @abstractmethod
    def denoise(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        """The clean patches (B, N, P), estimated from noisy ones (B, N, P) at signal fractions (B, N)."""

    @abstractmethod
    def loss(self, context: Tensor, clean: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """(scalar loss, estimated clean patches (B, N, P)); patches count as `prefix.squared_error` has it."""

    @abstractmethod
    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator) -> Tensor:
        """Patches (B, N, P) sampled given the context (B, N, W); where guided, (2B, N, W): see `Sampling.guide`."""


@dataclass(frozen=True, kw_only=True)
class NextPatch(PixelObjective):
    """What the next-patch objectives share: the shift by the start token, generation."""

    can_denoise: ClassVar[bool] = True
    takes_context_noise: ClassVar[bool] = True
    takes_next_patches: ClassVar[bool] = True
    takes_condition: ClassVar[bool] = True
    takes_random_order: ClassVar[bool] = True

    @abstractmethod
    def build(self, config: TrunkConfig) -> PatchDecoder: ...

    def complete(self, build: Callable[[], PatchDecoder], config: TrunkConfig) -> PatchDecoder:
        """A decoder, with those of further patches and the vectors of classes that the model has. Raises UserError."""
        decoder = build()
        decoder.ahead.extend(build() for _ in range(1, config.next_patches or 1))
        if config.condition is not None:
            remedy = "be the number of classes of the labels that the model is conditioned on"
            require(config.classes is not None, "classes", remedy, None)
            decoder.condition = ClassCondition(config.classes or 0, config.size.width)
        return decoder

    @abstractmethod
    def patch_flops(self, config: TrunkConfig) -> float:
        """Floating-point operations of the decoder's matrix products, per patch, forward."""

    def draws(self, config: TrunkConfig, noise: Noise | None) -> dict[str, Draw]:
        """Each image's `prefix` with prefix attention, noise (B, N - 1, P) with context noise; `label_draws`."""
        deviation, shape = config.context_noise, (config.patches - 1, config.patch_dim)

        def context_noise(count: int, generator: torch.Generator) -> Tensor:
            assert deviation is not None
            return deviation * torch.randn((count, *shape), generator=generator, device=generator.device)

        own = {**prefix_draws(config), **label_draws(config)}
        return own if deviation is None else {**own, _CONTEXT_NOISE: context_noise}

    def context(
        self,
        encoder: Trunk,
        patches: "Float[Tensor, 'batch patches patch_dim']",
        draws: Draws = MappingProxyType({}),
        reader: OrderReader | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """z (B, N, W): z_t is the trunk's output from the start token and the patches before t.

        Where the encoder is not causal, every z_t reads all patches except the last one in the order. One that is
        trained with prefix attention reads the prefix so, where `draws` hold one, and the rest causally. With a reader
        of random orders, z_t is from the patches before t in the image's order, where `draws` hold one.

        condition: (B, W), added to the start token.
        """
        if reader is not None:
            fixed = torch.arange(patches.shape[1], device=patches.device).expand(len(patches), -1)
            return reader.context(encoder, patches, draws.get(DRAWN, fixed), draws.get(_CONTEXT_NOISE))
        causal, read = True if encoder.reads_prefix else None, patches[:, :-1]
        if _CONTEXT_NOISE in draws:
            read = read + draws[_CONTEXT_NOISE]
        tokens = encoder.embed(read, encoder.grid)
        return encoder.trunk(tokens, encoder.grid, causal=causal, prefix=draws.get(PREFIX), condition=condition)

    def loss(self, encoder: Trunk, decoder: nn.Module, patches: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        assert isinstance(decoder, PatchDecoder)
        condition = None if decoder.condition is None else decoder.condition.of_draws(draws)
        context = self.context(encoder, patches, draws, decoder.reader, condition)
        targets = self.targets(patches)
        loss, prediction = decoder.loss(context, targets, draws)
        for number, head in enumerate(decoder.ahead, start=1):
            assert isinstance(head, PatchDecoder)
            own = {name: draws[name][:, number:] for name in head.per_patch}
            loss = loss + head.loss(context[:, :-number], targets[:, number:], own)[0]
        return loss / (1 + len(decoder.ahead)), prediction

    def patch_errors(self, patches: Tensor, prediction: Tensor) -> Tensor:
        """See `Objective.patch_errors`."""
        return (prediction.float() - self.targets(patches)).square().mean(2)

    def flops(self, config: TrunkConfig) -> float:
        """The trunk's, and `patch_flops` for each decoder's patches: N, N - 1, ….

        Of the trunk `TrunkConfig.trunk_flops` of N - 1 patches, or `RandomOrder.trunk_flops`.
        """
        drawn, predicted = config.random_order, sum(config.patches - k for k in range(config.next_patches or 1))
        trunk = config.trunk_flops(config.patches - 1) if drawn is None else drawn.trunk_flops(config)
        return trunk + predicted * self.patch_flops(config)

    def denoiser(
        self, encoder: Trunk, decoder: nn.Module, patches: Tensor, draws: Draws = MappingProxyType({})
    ) -> Denoiser:
        assert isinstance(decoder, PatchDecoder)
        prepared = decoder.prepare(self.context(encoder, patches, draws, decoder.reader))
        return Denoiser(self.targets(patches), partial(decoder.denoise, prepared))

    def generate(
        self,
        encoder: Trunk,
        decoder: nn.Module,
        prefix: Tensor,
        patches: int,
        how: Sampling,
        generator: torch.Generator,
    ) -> Tensor:
        """See `Objective.generate`. With a reader of random orders each patch needs a pass over all before it."""
        assert isinstance(decoder, PatchDecoder)
        condition = None
        if how.labels is not None and decoder.condition is not None:
            condition = decoder.condition.of_drawing(how.labels, guided=how.guided)

        def draw(context: Tensor) -> Tensor:
            return decoder.sample(context, how, generator)

        if decoder.reader is None:
            return sample_patches(encoder, draw, prefix, patches, condition)
        drawn, order = prefix, torch.arange(patches, device=prefix.device).expand(len(prefix), -1)
        for index in range(prefix.shape[1], patches):
            context = decoder.reader.read(encoder, drawn, order[:, : index + 1])[:, -1:]
            drawn = torch.cat([drawn, draw(context)], dim=1)
        return drawn

    def check_drawing(self, config: TrunkConfig, how: Sampling) -> None:
        """Raise UserError where targets are normalised, so that their pixels cannot be recovered, or read freely."""
        require(not self.normalize_target, "objective.normalize_target", "be false for generation", True)
        ordered = config.causal or config.attention == PREFIX or config.random_order is not None
        require(ordered, "causal", "be true for generation", False)
        fits = how.labels is None or config.condition is not None
        require(fits, "condition", "be labels (in pretraining) to draw images of a class", None)
