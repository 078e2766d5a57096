"""A folder that `huggingface_hub`'s mixin writes and reads: weights, arguments and a model card."""

import contextlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from darl.export.base import Source
from darl.export.card import CardExport

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HuggingFace"]


@dataclass(frozen=True, kw_only=True)
class HuggingFace(CardExport):
    """A model of the Hugging Face Hub, read by darl's HubEncoder.from_pretrained: weights, config.json, model card."""

    kind: ClassVar[str] = "huggingface"
    library: ClassVar[str] = "darl"

    def write_model(self, source: Source, folder: Path) -> None:
        """`model.safetensors` and `config.json`, by the mixin's `save_pretrained`."""
        from darl.model.hub_encoder import HubEncoder

        description = source.description
        options = description.origin.options({"num_classes": 0})
        encoder = HubEncoder(
            size=source.encoder.size,
            mean=list(description.mean),
            std=list(description.std),
            **{**options, "img_size": list(options["img_size"])},
        )
        encoder.load_state_dict(source.encoder.state_dict())
        config = {**(encoder._hub_mixin_config or {}), "size": asdict(source.encoder.size)}  # pyright: ignore
        encoder.save_pretrained(folder, config=config)

    def read(self, source: Source, folder: Path, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """By the mixin's `from_pretrained`."""
        from darl.model.hub_encoder import HubEncoder

        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):  # it prints what it reads
            encoder = HubEncoder.from_pretrained(folder)
        patches = encoder.forward_features(images)
        return patches, encoder.forward_head(patches, pre_logits=True)

    def loading(self, source: Source, folder: str) -> str:
        """`HubEncoder.from_pretrained` of the folder, or of a model of the Hub."""
        return "\n".join(
            [
                "import timm",
                "from darl.model.hub_encoder import HubEncoder",
                f'encoder = HubEncoder.from_pretrained("{folder}")  # in evaluation mode',
                "features = encoder.forward_features(images)  # (batch, patches, width), in raster order",
                "vector = encoder(images)  # (batch, width)",
                "config = timm.data.resolve_data_config(model=encoder)  # size, mean and std of the images",
            ]
        )
