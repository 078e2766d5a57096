"""The family of tokenizers, and the interface of what they build.

A tokenizer turns an image of N patches into N token indices, one for each patch. A model may read tokens in the place
of patches (`TrunkConfig.token_input`) and predict them (`darl.model.objectives.tokens`); the tokenizer itself does not
learn then. It is part of the model, so checkpoints carry it.

A foreign tokenizer is a `Tokenizer` whose `build` gives a `TokenizerModel` with its weights, for which `encode` is all
that has to be written. One that darl trains (`darl tokenizer`) is a `LearnedTokenizer`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.errors import UserError
from darl.model.patches import Grid
from darl.randomness import seed_of
from darl.variants import Variant, require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = [
    "FROZEN", "LearnedTokenizer", "TokenTable", "Tokenizer", "TokenizerModel", "build_frozen", "require_tokenizer",
    "tokenizer_in",
]  # fmt: skip

FROZEN = "is_frozen"
"""The attribute of modules whose weights initialisation leaves as they are."""


class TokenizerModel(nn.Module, ABC):
    """A tokenizer's network."""

    @abstractmethod
    def encode(self, images: "Float[Tensor, 'batch channels height width']") -> "Int[Tensor, 'batch patches']":
        """The token of each patch, in raster order, in [0, vocabulary).

        images: normalised pixels, of any size that the patch size divides, of a single patch at least. A model that
        reads tokens gives each patch as an image of its own, so that a token tells nothing of the patches after it;
        a target is encoded in the whole image.
        """

    def decode(
        self, tokens: "Int[Tensor, 'batch patches']", grid: Grid
    ) -> "Float[Tensor, 'batch channels height width']":
        """The images (normalised pixels) that the tokens stand for. Raises UserError where there are none."""
        raise UserError("must be able to decode tokens to be judged by its reconstructions", field="tokenizer")

    @torch.no_grad()
    def tokens(self, images: "Float[Tensor, 'batch channels height width']") -> "Int[Tensor, 'batch patches']":
        """`encode` as models use it: in the tokenizer's own precision, and without gradients.

        Under bfloat16 a token could be another one.
        """
        own = next((x for x in chain(self.parameters(), self.buffers()) if x.is_floating_point()), images)
        with torch.autocast(images.device.type, enabled=False):
            return self.encode(images.to(own.dtype))


class TokenTable(nn.Module):
    """A learned vector for each token, V rows of width W."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal, of variance 1 / W: vectors of length 1 whatever the width.

        With 0.02² (timm's for linear maps) a dVAE's tokens stayed alike for longer: on digits, 64 tokens of 4 × 4
        pixels, the reconstruction error after 330 steps was 0.230 with 10 tokens in use; so it is 0.152 with 18.
        """
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def forward(self, tokens: "Int[Tensor, 'batch patches']") -> "Float[Tensor, 'batch patches width']":
        """The vectors of tokens."""
        return F.embedding(tokens, self.weight)


@dataclass(frozen=True, kw_only=True)
class Tokenizer(Variant):
    """A tokenizer's settings; its field or property `vocabulary` is the number of its tokens."""

    family: ClassVar[str] = "tokenizer"
    package: ClassVar[str] = "darl.model.tokenizers"
    vocabulary: int

    @abstractmethod
    def build(self, channels: int, patch_size: int) -> TokenizerModel:
        """The network, for images of so many channels and patches of so many pixels a side. Raises UserError."""

    def encode_flops(self, patch_dim: int) -> float:
        """Floating-point operations of the matrix products of `encode`, per patch of P values; 0 where not known."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class LearnedTokenizer(Tokenizer):
    """A tokenizer that is trained on images (`darl.training.tokenizer`)."""

    @abstractmethod
    def draw(self, patches: int, count: int, generator: torch.Generator) -> Tensor:
        """The random numbers of a training step for `count` images of so many patches; the first axis is the image."""

    @abstractmethod
    def loss(self, model: nn.Module, images: Tensor, drawn: Tensor, done: float) -> Tensor:
        """The scalar training loss.

        Args:
            model: what `build` gave, or what wraps it for several workers.
            images: (B, C, H, W), normalised.
            drawn: what `draw` gave for them.
            done: the share of the training's steps that are done, in (0, 1]: what schedules depend on.

        """

    @abstractmethod
    def training_flops(self, patch_dim: int) -> float:
        """Floating-point operations of the matrix products of the loss, forward, per patch of P values."""


def build_frozen(tokenizer: Tokenizer, channels: int, patch_size: int) -> TokenizerModel:
    """The network as a part of another model, which does not train it.

    Its parameters become buffers, so optimisers, clipping and DDP pass over them, and the other model's initialisation
    leaves them as they are (`darl.model.initial_weights.reset`). Until a learned tokenizer's weights are loaded they
    are random, the same in every model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("tokenizer"))
        model = tokenizer.build(channels, patch_size)
    for module in model.modules():
        setattr(module, FROZEN, True)
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return model


def tokenizer_in(model: nn.Module) -> TokenizerModel | None:
    """The tokenizer that a model holds; None without one."""
    return next((module for module in model.modules() if isinstance(module, TokenizerModel)), None)


def require_tokenizer(tokenizer: Tokenizer | None, needed_by: Mapping[str, bool]) -> None:
    """Raise UserError unless a tokenizer is given where one of these, by name, needs it, and only there."""
    users = [name for name, needs in needed_by.items() if needs]
    remedy = f"be given for {' and '.join(users)}: one that darl tokenizer has trained, and what its tokens are"
    require(tokenizer is not None or not users, "tokenizer", remedy, None)
    remedy = f"be left out where its tokens are neither read nor predicted ({', '.join(needed_by)})"
    require(tokenizer is None or bool(users), "tokenizer", remedy, tokenizer and str(tokenizer))
