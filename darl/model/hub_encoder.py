"""The encoder with `from_pretrained` and `save_pretrained`: a folder, or a model of the Hugging Face Hub.

    config.json          the arguments of `HubEncoder`
    model.safetensors    its weights

The mixin is `huggingface_hub`'s; `darl export --to huggingface` writes such a folder, with a model card.
"""

from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin

from darl.model.encoder_config import EncoderConfig
from darl.model.timm_encoder import TimmEncoder
from darl.model.weights import pretrained_cfg

__all__ = ["HubEncoder"]


class HubEncoder(
    TimmEncoder,
    PyTorchModelHubMixin,
    library_name="darl",
    pipeline_tag="image-feature-extraction",
    paper_url="https://arxiv.org/abs/2403.05196",
):
    """An encoder that says how its images are normalised, and is made by `HubEncoder.from_pretrained`.

    Args:
        size: widths.
        mean: mean of the training images' pixels per channel, in [0, 1].
        std: standard deviation of the training images' pixels per channel.
        options: arguments of `TimmEncoder`, as plain JSON values.

    Raises UserError.

    """

    def __init__(self, *, size: EncoderConfig, mean: list[float], std: list[float], **options: Any):
        super().__init__(size, **{"num_classes": 0, **options})
        pixels = (self.in_chans, self.grid[0] * self.patch, self.grid[1] * self.patch)
        config = pretrained_cfg(self.num_classes, input_size=pixels, mean=tuple(mean), std=tuple(std))
        self.pretrained_cfg = self.default_cfg = {"architecture": "darl", **config}  # pyright: ignore

    @classmethod
    def _from_pretrained(cls, *, strict: bool = True, **source: Any) -> Self:
        """As the mixin's, which passes over weights that are missing unless told otherwise."""
        return super()._from_pretrained(strict=strict, **source)
