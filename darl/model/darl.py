"""DARL: a causal Vision Transformer that predicts an image's patches one after another (Li et al. 2024, section 3).

    sequence   [start, x_1 … x_{N-1}]   patches in the chosen order, shifted by a start token, the last one dropped
    trunk      z_t = Transformer(x_{<t})
    objective  z_t -> x_t               by MSE, or by denoising x_t (darl.model.objectives.base)

Unlike a plain ViT: causal attention without a materialised mask; rotary coordinates are the patch's own (row, column),
also where the order is not the raster, and the start token is not turned; a start token in the place of a class token;
features are returned in raster order whatever the order of training; the mask can be taken off afterwards.

Layouts: B batch, N patches, T tokens (N of them in training, N + 1 for features: the start token and all patches),
W width, P pixel values of a patch, H heads, D head width.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from darl.model.encoder import Encoder, EncoderConfig, reset
from darl.model.noise import Noise
from darl.model.objectives.base import Corruption, Objective, PatchDecoder
from darl.model.orders import Order, inverse
from darl.model.patches import normalize_patches, unpatchify
from darl.model.positions import Position
from darl.model.sampling import Cache, sample_patches
from darl.randomness import draw_rows
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Darl"]


class Darl(nn.Module):
    """The trunk and a patch decoder, trained to predict the next patch. See `darl.create_model`."""

    def __init__(
        self,
        size: EncoderConfig,
        *,
        image_size: tuple[int, int],
        channels: int,
        order: Order,
        position: Position,
        causal: bool,
        objective: Objective,
        noise: Noise | None,
    ):
        super().__init__()
        require(
            (noise is not None) == objective.uses_noise,
            "noise",
            f"{'be given' if objective.uses_noise else 'be left out'} for objective {objective.kind}",
            noise and str(noise),
        )
        self.objective, self.noise = objective, noise
        self.image_size, self.patch_size = image_size, size.patch_size
        self.patch_dim = channels * size.patch_size**2
        self.encoder = Encoder(
            size, image_size=image_size, channels=channels, order=order, position=position, causal=causal
        )
        self.decoder: PatchDecoder = objective.build(size.width, size.heads, self.patch_dim, size.mlp_ratio)
        self.decoder.apply(reset)

    @property
    def order(self) -> "Int[Tensor, ' patches']":
        """Raster indices in the order of prediction."""
        return self.encoder.order

    def no_weight_decay(self) -> set[str]:
        """See `Encoder.no_weight_decay`."""
        return {f"encoder.{name}" for name in self.encoder.no_weight_decay()}

    def targets(self, patches: "Float[Tensor, 'batch patches patch_dim']") -> Tensor:
        """What is to be predicted of patches: themselves, or each normalised where the objective says so."""
        return normalize_patches(patches) if self.objective.normalize_target else patches

    def context(self, patches: "Float[Tensor, 'batch patches patch_dim']") -> Tensor:
        """z (B, N, W) for patches in the order of prediction: z_t is the trunk's output from the patches before t."""
        grid = self.encoder.grid
        return self.encoder.trunk(self.encoder.embed(patches[:, :-1], grid), grid)

    def draw(self, rows: range, *purpose: int | str, device: torch.device | str = "cpu") -> Corruption | None:
        """What the diffusion loss adds to the targets of these rows of a batch; None for MSE.

        A row's draw depends on `purpose` (say seed and step) and on the row alone: see `darl.randomness`.
        """
        noise, n = self.noise, len(self.order)
        if noise is None:
            return None

        def gamma(count: int, generator: torch.Generator) -> Tensor:
            return noise.sample((count, n), generator)

        def normal(count: int, generator: torch.Generator) -> Tensor:
            return torch.randn((count, n, self.patch_dim), generator=generator, device=generator.device)

        return Corruption(
            draw_rows(gamma, rows, *purpose, "gamma", device=device),
            draw_rows(normal, rows, *purpose, "noise", device=device),
        )

    def forward(
        self,
        images: "Float[Tensor, 'batch channels height width']",
        corruption: Corruption | None = None,
        seed: int | None = None,
    ) -> dict[str, Tensor]:
        """The loss and the predicted clean patches.

        Args:
            images: normalised pixels, of the model's own size.
            corruption: gamma (B, N) and noise (B, N, P) of the diffusion objective; drawn where not given.
            seed: of that draw; from torch's default generator where not given.

        Returns:
            loss (scalar) and prediction (batch, patches, patch_dim), in the order of `order`.

        """
        self._check(images)
        if corruption is None and self.noise is not None:
            seed = int(torch.randint(2**62, ())) if seed is None else seed
            corruption = self.draw(range(len(images)), seed, device=images.device)
        patches, _ = self.encoder.patches(images)
        loss, prediction = self.decoder.loss(self.context(patches), self.targets(patches), corruption)
        return {"loss": loss, "prediction": prediction}

    def forward_features(
        self, images: "Float[Tensor, 'batch channels height width']"
    ) -> "Float[Tensor, 'batch tokens features']":
        """One feature vector for each patch, in raster order; all patches are read."""
        return self.encoder.forward_features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> "Float[Tensor, 'batch width']":
        """The readout (B, W) of raster-order features (`pre_logits` changes nothing: there is no classifier)."""
        return self.encoder.forward_head(features, pre_logits=pre_logits)

    def flops(self) -> float:
        """Of one image's forward pass in training: `Encoder.flops` of N - 1 patches + N times `Objective.flops`."""
        size, n = self.encoder.size, len(self.order)
        return self.encoder.flops(n - 1) + n * self.objective.flops(size.width, self.patch_dim, size.mlp_ratio)

    @torch.no_grad()
    def generate(
        self, n: int, *, steps: int = 32, prefix: Tensor | None = None, seed: int = 0
    ) -> "Float[Tensor, 'n channels height width']":
        """Draw `n` images (normalised pixels) patch by patch.

        Args:
            n: images.
            steps: noise levels per patch; without meaning for MSE, which predicts the mean.
            prefix: (n, k, patch_dim), the first k patches in the order of prediction; none where not given.
            seed: of the draw.

        Raises UserError where the targets are normalised per patch: their pixels cannot be had back.
        """
        field = "objective.normalize_target"
        require(not self.objective.normalize_target, field, "be false for generation", True)
        require(n >= 1 and steps >= 1, "n and steps", "be at least 1", (n, steps))
        weight = self.encoder.start_token
        prefix = weight.new_empty(n, 0, self.patch_dim) if prefix is None else prefix.to(weight)
        shape = tuple(prefix.shape)
        fits = len(shape) == 3 and shape[0] == n and shape[1] <= len(self.order) and shape[2] == self.patch_dim
        require(fits, "prefix", f"have shape ({n}, at most {len(self.order)}, {self.patch_dim})", shape)
        require(self.encoder.causal, "causal", "be true for generation", False)
        generator = torch.Generator(weight.device).manual_seed(seed)
        cache: Cache = [None] * len(self.encoder.blocks)
        patches = sample_patches(self, prefix, len(self.order), steps, generator, cache)
        return unpatchify(patches[:, inverse(self.order)], self.encoder.grid, self.patch_size)

    def next_context(self, patch: Tensor | None, place: int, batch: int, cache: Cache) -> Tensor:
        """See `darl.model.sampling.Sampleable`."""
        start = self.encoder.start_token.expand(batch, -1, -1)
        token = start if patch is None else self.encoder.embed(patch.unsqueeze(1), self.encoder.grid, place - 1)
        return self.encoder.trunk_step(token, place, cache)

    def draw_patch(self, context: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """See `darl.model.sampling.Sampleable`."""
        return self.decoder.sample(context, steps, generator)

    def _check(self, images: Tensor) -> None:
        channels = self.patch_dim // self.patch_size**2
        expected = (channels, *self.image_size)
        require(tuple(images.shape[1:]) == expected, "images", f"have shape (batch, {expected})", tuple(images.shape))
