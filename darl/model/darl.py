"""DARL: a causal Vision Transformer that predicts an image's patches one after another (Li et al. 2024, section 3).

A model is an encoder and a decoder, which the training objective builds. The objective decides how the encoder is
called and what is predicted (`darl.model.objectives`); the paper's objectives predict the next patch.

Unlike a plain ViT: the causal mask is never built as a tensor; rotary coordinates are the patch's own (row, column),
whatever the patch order, and the start token is not rotated; a start token takes the place of a ViT's class token;
features are returned in raster order, whatever the patch order; the mask can be dropped after pretraining.

Layouts: B batch, N patches, W width, P pixel values of a patch.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from darl.errors import UserError
from darl.model.config import ModelConfig
from darl.model.encoder import Encoder
from darl.model.initial_weights import reset
from darl.model.noise import Noise
from darl.model.objectives.base import Denoiser, Draws
from darl.model.orders import inverse
from darl.model.patches import unpatchify
from darl.model.random_orders import DRAWN
from darl.model.sampling import PatchSampler, Sampling
from darl.model.tokenizers.base import TokenizerModel, tokenizer_in
from darl.randomness import draw_rows
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Darl"]


class Darl(nn.Module):
    """An encoder and its objective's decoder. See `darl.create_model`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config, self.objective, self.noise = config, config.objective, config.noise
        self.image_size, self.patch_size, self.patch_dim = config.image_size, config.size.patch_size, config.patch_dim
        self.encoder = Encoder(config)
        self.decoder = config.objective.build(config)
        self.decoder.apply(reset)
        self.adaptation = None if config.noise is None else config.noise.adaptation()
        self.order_policy = None if config.random_order is None else config.random_order.policy(config.patches)

    @property
    def schedule(self) -> Noise | None:
        """What training draws gamma from now: the noise schedule, or what it has become where it follows the losses."""
        return self.noise if self.adaptation is None else self.adaptation.schedule

    @property
    def order(self) -> "Int[Tensor, ' patches']":
        """Raster indices in the order of prediction."""
        return self.encoder.order

    def no_weight_decay(self) -> set[str]:
        """See `Encoder.no_weight_decay`."""
        return {*(f"encoder.{name}" for name in self.encoder.no_weight_decay()), "decoder.reader.table"}

    def draw(
        self, rows: range, *purpose: int | str, device: torch.device | str = "cpu", progress: float = 0.0
    ) -> Draws:
        """The random tensors that the objective's loss needs for these rows of a batch, by name.

        A row's draws depend only on `purpose` (for example seed and step), the row (see `darl.randomness`) and, with
        random orders, the `progress` of training in [0, 1] or what was learned of orders.
        """
        draws = self.objective.draws(self.config, self.schedule)
        own = {name: draw_rows(draw, rows, *purpose, name, device=device) for name, draw in draws.items()}
        return {**own, **self.draw_orders(rows, *purpose, device=device, progress=progress)}

    def draw_orders(
        self, rows: range, *purpose: int | str, device: torch.device | str = "cpu", progress: float = 1.0
    ) -> Draws:
        """With random orders, those of these rows alone, as `draw` gives them; none for a fixed order."""
        if self.config.random_order is None:
            return {}
        draw = self.config.random_order.draw(self.config.patches, progress, self.order_policy)
        return {DRAWN: draw_rows(draw, rows, *purpose, DRAWN, device=device)}

    def forward(
        self,
        images: "Float[Tensor, 'batch channels height width']",
        draws: Draws | None = None,
        seed: int | None = None,
    ) -> dict[str, Tensor]:
        """The loss, and the predicted clean patches, embeddings or class scores.

        Args:
            images: normalised pixels, of the image size that the model was built for.
            draws: the objective's random tensors, from `draw`; drawn where not given. An objective that learns labels
                needs them here, too: `{**model.draw(…), "labels": labels}`.
            seed: seeds that draw; taken from torch's default generator where not given.

        Returns:
            "loss" (scalar) and "prediction" (batch, patches, patch_dim), patches in the order of prediction (`order`);
            class scores (batch, classes) of an objective that learns labels, embeddings (batch, patches, width) of
            `nepa`, scores (batch, patches, vocabulary) of `tokens`.

        Raises UserError where the images have another size or number of channels.

        """
        self._check(images)
        if draws is None:
            seed = int(torch.randint(2**62, ())) if seed is None else seed
            draws = self.draw(range(len(images)), seed, device=images.device)
        patches, _ = self.encoder.patches(images)
        loss, prediction = self.objective.loss(self.encoder, self.decoder, patches, draws)
        return {"loss": loss, "prediction": prediction}

    @torch.no_grad()
    def observe(self, images: Tensor, draws: Draws, prediction: Tensor) -> None:
        """Show what follows the losses, noise schedule or orders, how well `forward` predicted; nothing for others."""
        if self.adaptation is None and self.order_policy is None:
            return
        patches, _ = self.encoder.patches(images)
        if self.adaptation is not None:
            self.adaptation.observe(*self.objective.estimation_errors(patches, prediction, draws))
        if self.order_policy is not None:
            self.order_policy.observe(draws[DRAWN], self.objective.patch_errors(patches, prediction))

    def forward_features(
        self, images: "Float[Tensor, 'batch channels height width']"
    ) -> "Float[Tensor, 'batch tokens features']":
        """One feature vector for each patch, in raster order; all patches are read."""
        return self.encoder.forward_features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> "Float[Tensor, 'batch width']":
        """The readout (B, W) of raster-order features (`pre_logits` changes nothing: there is no classifier)."""
        return self.encoder.forward_head(features, pre_logits=pre_logits)

    def denoiser(
        self, images: "Float[Tensor, 'batch channels height width']", draws: Draws = MappingProxyType({})
    ) -> Denoiser:
        """The images' clean patches, and a function that estimates them from noisy ones.

        draws: with random orders, those of the images (`draw_orders`); without, they are read in the fixed order.

        Raises UserError where the objective does not predict every patch: see `Objective.can_denoise`.
        """
        self._check(images)
        patches, _ = self.encoder.patches(images)
        given = (draws,) if draws else ()
        return self.objective.denoiser(self.encoder, self.decoder, patches, *given)

    def flops(self) -> float:
        """Floating-point operations of one image's forward pass in training: see `ModelConfig.flops`."""
        return self.config.flops()

    @property
    def can_draw(self) -> bool:
        """Whether `generate` draws images, at least with its default settings."""
        try:
            self.objective.check_drawing(self.config, Sampling())
        except UserError:
            return False
        return True

    @property
    def decodes_tokens(self) -> bool:
        """Whether it holds a tokenizer that gives the images which tokens stand for."""
        tokenizer = tokenizer_in(self)
        return tokenizer is not None and type(tokenizer).decode is not TokenizerModel.decode

    @torch.no_grad()
    def generate(
        self,
        n: int,
        *,
        steps: int | None = None,
        prefix: Tensor | None = None,
        seed: int = 0,
        sampler: PatchSampler | str = "ancestral",
        temperature: float = 1.0,
        labels: int | Sequence[int] | None = None,
        guidance: float = 1.0,
    ) -> "Float[Tensor, 'n channels height width']":
        """Sample `n` images (normalised pixels) patch by patch.

        Args:
            n: number of images.
            steps: denoising steps per patch; by default 32, or 1 where the decoder cannot know gamma (see
                `darl.model.objectives.diffusion.Diffusion`). Ignored for MSE, which predicts the mean.
            prefix: (n, k, patch_dim), the first k patches in the order of prediction; by default none.
            seed: seeds the samples.
            sampler: `ancestral`, or `ddim`, `ddim:eta=0.5` (`darl.model.sampling`).
            temperature: all noise is drawn times this, 0 or more.
            labels: a class for all images, or one for each, of a model with `condition` labels; by default none.
            guidance: how far to go from estimates without label to those with it (`Sampling.guidance`).

        Raises UserError where the objective does not allow it: see `Objective.check_drawing`.
        """
        require(n >= 1, "n", "be at least 1", n)
        sampler = PatchSampler.parse(sampler) if isinstance(sampler, str) else sampler
        classes = (labels,) * n if isinstance(labels, int) else None if labels is None else tuple(labels)
        require(classes is None or len(classes) == n, "labels", f"be one class, or one for each of {n} images", labels)
        how = Sampling(
            steps=steps, sampler=sampler, temperature=temperature, labels=classes, guidance=guidance
        )  # fmt: skip
        self.objective.check_drawing(self.config, how)
        weight = self.encoder.start_token
        prefix = weight.new_empty(n, 0, self.patch_dim) if prefix is None else prefix.to(weight)
        shape = tuple(prefix.shape)
        fits = len(shape) == 3 and shape[0] == n and shape[1] <= len(self.order) and shape[2] == self.patch_dim
        require(fits, "prefix", f"have shape ({n}, at most {len(self.order)}, {self.patch_dim})", shape)
        generator = torch.Generator(weight.device).manual_seed(seed)
        patches = self.objective.generate(self.encoder, self.decoder, prefix, len(self.order), how, generator)
        return unpatchify(patches[:, inverse(self.order)], self.encoder.grid, self.patch_size)

    def _check(self, images: Tensor) -> None:
        expected = (self.config.channels, *self.image_size)
        require(tuple(images.shape[1:]) == expected, "images", f"have shape (batch, {expected})", tuple(images.shape))
