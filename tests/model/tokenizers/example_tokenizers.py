"""Foreign tokenizers, as a user would define them: one that reads each patch alone, one that reads the whole image.

They stay variants of `Tokenizer` in any process that imports this file: no test may expect a closed family.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from darl.model.patches import Grid, patchify, unpatchify
from darl.model.tokenizers.base import Tokenizer, TokenizerModel

__all__ = ["Levels", "Ranks"]


@dataclass(frozen=True, kw_only=True)
class Levels(Tokenizer):
    """A patch's token is its mean, in levels of 0.1 above -1."""

    kind: ClassVar[str] = "example_levels"
    vocabulary: int = 20

    def build(self, channels: int, patch_size: int) -> "LevelsModel":
        return LevelsModel(self.vocabulary, channels, patch_size)


class LevelsModel(TokenizerModel):
    def __init__(self, vocabulary: int, channels: int, patch_size: int):
        super().__init__()
        self.channels, self.patch_size = channels, patch_size
        self.register_buffer("edges", torch.arange(1, vocabulary) / 10 - 1)

    def encode(self, images: Tensor) -> Tensor:
        return torch.bucketize(patchify(images, self.patch_size).mean(2), self.edges)

    def decode(self, tokens: Tensor, grid: Grid) -> Tensor:
        level = (tokens.to(self.edges) / 10 - 0.95).unsqueeze(2)
        return unpatchify(level.expand(-1, -1, self.channels * self.patch_size**2), grid, self.patch_size)


@dataclass(frozen=True, kw_only=True)
class Ranks(Tokenizer):
    """A patch's token says how many patches of the image are darker: it depends on all of them. Nothing to decode."""

    kind: ClassVar[str] = "example_ranks"
    vocabulary: int = 16

    def build(self, channels: int, patch_size: int) -> "RanksModel":
        return RanksModel(patch_size)


class RanksModel(TokenizerModel):
    def __init__(self, patch_size: int):
        super().__init__()
        self.patch_size = patch_size

    def encode(self, images: Tensor) -> Tensor:
        return patchify(images, self.patch_size).mean(2).argsort(1).argsort(1)
