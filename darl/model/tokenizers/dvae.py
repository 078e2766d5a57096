"""A discrete VAE: each patch as one of V tokens (Ramesh et al. 2021, arXiv 2102.12092, sections 2.1 and A).

    encoder    l_t = E(x_t), V scores of patch t
    relaxation y_t = softmax((l_t + g_t) / tau), g ~ Gumbel(0, 1)      (Jang et al. 2017, Maddison et al. 2017)
    decoder    x' = D(y_1 C, …, y_N C), with a learned vector for each token in C
    loss       mean squared error of the pixels + weight · KL(softmax(l_t) ‖ uniform) / P, P pixel values of a patch
    token      argmax l_t, without noise

tau falls from 1 to its last value along a cosine in the first part of training, and the KL weight rises linearly in a
smaller one, as in DALL-E (tau to 1/16 in the first 5 % of its updates, the weight in the first 0.2 %). Both are
functions of the step, so a resumed run needs no state for them. DALL-E divides by the number of pixel values, too.

Unlike there, the encoder reads each patch alone (DALL-E's has a wider view): a token then tells nothing of later
patches, and a model that reads tokens predicts nothing that it has seen. The decoder reads neighbours, by convolutions
of 3 × 3 tokens: that is what it has over a table of patches (k-means), whose reconstruction is a function of the token
alone. The error is squared, not DALL-E's logit-Laplace likelihood, as pixels here are normalised, not in [0, 1].
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.patches import Grid, grid_of, patchify, unpatchify
from darl.model.tokenizers.base import LearnedTokenizer, TokenizerModel, TokenTable
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Dvae", "DvaeModel"]

KL_RISES = 0.05
"""The share of training in which the KL weight rises from 0."""


@dataclass(frozen=True, kw_only=True)
class Dvae(LearnedTokenizer):
    """A small discrete VAE. It is trained by `darl tokenizer`.

    vocabulary: number of tokens, at least 2. width: of all layers. depth: residual blocks of encoder and decoder, each.
    temperature: the last tau, in (0, 1]. anneal: the share of training in which tau falls to it, in (0, 1]. kl_weight:
    0 or more. On digits (64 tokens of 4 × 4 pixels, 440 steps, the tokens' vectors begun smaller than now, one seed)
    weights 0, 0.01, 0.1 and 0.3 left 10, 13, 19 and 24 tokens in use, at errors of 0.171, 0.159, 0.160 and 0.224.
    """

    kind: ClassVar[str] = "dvae"
    vocabulary: int = changes(Aspect.INPUT, default=512)
    width: int = changes(Aspect.INPUT, default=64)
    depth: int = changes(Aspect.INPUT, default=2)
    temperature: float = changes(Aspect.TRAINING, default=0.0625)
    anneal: float = changes(Aspect.TRAINING, default=0.5)
    kl_weight: float = changes(Aspect.TRAINING, default=0.01)

    def __post_init__(self) -> None:
        require(self.vocabulary >= 2, "tokenizer.vocabulary", "be at least 2", self.vocabulary)
        for name in ("width", "depth"):
            require(getattr(self, name) >= 1, f"tokenizer.{name}", "be at least 1", getattr(self, name))
        for name in ("temperature", "anneal"):
            require(0 < getattr(self, name) <= 1, f"tokenizer.{name}", "be in (0, 1]", getattr(self, name))
        fits = 0 <= self.kl_weight < math.inf
        require(fits, "tokenizer.kl_weight", "be 0 or more, and finite", self.kl_weight)

    def build(self, channels: int, patch_size: int) -> "DvaeModel":
        """See `Tokenizer.build`."""
        return DvaeModel(self, channels, patch_size)

    def draw(self, patches: int, count: int, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise (count, patches, V)."""
        shape = (count, patches, self.vocabulary)
        return -torch.empty(shape, device=generator.device).exponential_(generator=generator).log()

    def loss(self, model: nn.Module, images: Tensor, drawn: Tensor, done: float) -> Tensor:
        """See the module's docstring."""
        reconstruction, scores = model(images, drawn, self.temperature_at(done))
        log_q = scores.to(images.dtype).log_softmax(-1)  # not in bfloat16
        kl = (log_q.exp() * (log_q + math.log(self.vocabulary))).sum(-1).mean()
        values = images[0].numel() / scores.shape[1]
        return F.mse_loss(reconstruction.to(images.dtype), images) + self.kl_weight_at(done) * kl / values

    def temperature_at(self, done: float) -> float:
        """tau after this share of training: 1 at the beginning, `temperature` from `anneal` on."""
        falls = math.cos(math.pi * min(done / self.anneal, 1.0))
        return self.temperature + (1 - self.temperature) * (1 + falls) / 2

    def kl_weight_at(self, done: float) -> float:
        """The KL weight after this share of training."""
        return self.kl_weight * min(done / KL_RISES, 1.0)

    def encode_flops(self, patch_dim: int) -> float:
        """2PW to embed, 16W² for each block, 2WV for the scores."""
        return 2 * self.width * (patch_dim + self.vocabulary + 8 * self.depth * self.width)

    def training_flops(self, patch_dim: int) -> float:
        """`encode_flops`, 2VW for the tokens' vectors, 20W² for each block of the decoder, 2WP."""
        decoded = self.vocabulary + 10 * self.depth * self.width + patch_dim
        return self.encode_flops(patch_dim) + 2 * self.width * decoded


class DvaeModel(TokenizerModel):
    """The networks of `Dvae`. Layouts: B batch, N patches in raster order, P pixel values of a patch, V tokens."""

    def __init__(self, config: Dvae, channels: int, patch_size: int):
        super().__init__()
        width, patch_dim = config.width, channels * patch_size**2
        self.patch_size = patch_size
        self.embed = nn.Linear(patch_dim, width)
        self.encoder = nn.Sequential(*(PatchBlock(width) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width)
        self.scores, self.codebook = (TokenTable(config.vocabulary, width) for _ in range(2))
        self.decoder = nn.ModuleList(GridBlock(width) for _ in range(config.depth))
        self.decoder_norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, patch_dim)

    def forward(
        self, images: "Float[Tensor, 'batch channels height width']", gumbel: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """(reconstructions, in the images' shape; scores (B, N, V)), by relaxed tokens. gumbel: (B, N, V)."""
        grid = grid_of((images.shape[2], images.shape[3]), self.patch_size)
        scores = self.score(images)
        relaxed = ((scores + gumbel.to(scores)) / temperature).softmax(-1)
        return self._decoded(relaxed @ self.codebook.weight, grid), scores

    def score(self, images: Tensor) -> "Float[Tensor, 'batch patches vocabulary']":
        """The scores of the tokens of each patch, of which nothing but this patch is read."""
        x = self.norm(self.encoder(self.embed(patchify(images, self.patch_size))))
        return F.linear(x, self.scores.weight)

    def encode(self, images: "Float[Tensor, 'batch channels height width']") -> "Int[Tensor, 'batch patches']":
        """See `TokenizerModel.encode`."""
        return self.score(images).argmax(-1)

    def decode(
        self, tokens: "Int[Tensor, 'batch patches']", grid: Grid
    ) -> "Float[Tensor, 'batch channels height width']":
        """See `TokenizerModel.decode`."""
        return self._decoded(self.codebook(tokens), grid)

    def _decoded(self, x: Tensor, grid: Grid) -> Tensor:
        for block in self.decoder:
            x = block(x, grid)
        return unpatchify(self.pixels(self.decoder_norm(x)), grid, self.patch_size)


class PatchBlock(nn.Module):
    """A residual MLP on each patch alone."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


class GridBlock(nn.Module):
    """A residual convolution of 3 × 3 tokens."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.neighbours = nn.Conv2d(width, width, 3, padding=1)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        maps = self.norm(x).transpose(1, 2).unflatten(2, grid)
        return x + self.project(F.gelu(self.neighbours(maps)).flatten(2).transpose(1, 2))
