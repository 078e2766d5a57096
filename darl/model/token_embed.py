"""Tokens as input: a learned vector for each token, in the place of the linear patch embedding."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from darl.model.tokenizers.base import Tokenizer, TokenTable, build_frozen

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["TokenEmbed"]


class TokenEmbed(nn.Module):
    """Patches → tokens → vectors. It stands where timm's `PatchEmbed` stands in a model that reads pixels.

    Each patch is given to the tokenizer as an image of its own, so its vector depends on no other patch: what is read
    causally stays so, whatever the tokenizer sees in whole images.
    """

    def __init__(self, tokenizer: Tokenizer, channels: int, patch_size: int, width: int):
        super().__init__()
        self.config = tokenizer
        self.tokenizer = build_frozen(tokenizer, channels, patch_size)
        self.shape = (channels, patch_size, patch_size)
        self.table = TokenTable(tokenizer.vocabulary, width)
        self.strict_img_size = False  # timm's models set it

    def forward(self, patches: "Float[Tensor, 'batch read patch_dim']") -> "Float[Tensor, 'batch read width']":
        """The vectors of patches."""
        return self.table(self.tokens(patches))

    def tokens(self, patches: "Float[Tensor, 'batch read patch_dim']") -> "Int[Tensor, 'batch read']":
        """The token of each patch."""
        return self.tokenizer.tokens(patches.reshape(-1, *self.shape)).view(patches.shape[:2])

    def set_input_size(self, size: tuple[int, int]) -> None:
        """Nothing to do: as in timm, for images of another size."""
