"""The encoder's weights in one safetensors file, for darl and for timm with darl's names."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from darl.export.base import Export, Source

if TYPE_CHECKING:
    from torch import Tensor

    from darl.model.encoder_config import EncoderConfig

__all__ = ["FILE", "SafetensorsFile"]

FILE = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class SafetensorsFile(Export):
    """The encoder's weights alone, with the run's record as metadata: for darl, and timm where darl is installed."""

    kind: ClassVar[str] = "safetensors"

    def write(self, source: Source, folder: Path) -> None:
        """`model.safetensors`, with darl's metadata."""
        from safetensors.torch import save_file

        weights = {name: value.contiguous() for name, value in source.encoder.state_dict().items()}
        save_file(weights, folder / FILE, source.description.to_metadata())

    def read(self, source: Source, folder: Path, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """By `darl.load`."""
        from darl.training.pretrained_encoder import load

        encoder = load(folder / FILE)
        patches = encoder.forward_features(images)
        return patches, encoder.forward_head(patches, pre_logits=True)

    def loading(self, source: Source, folder: str) -> str:
        """`darl.load`, and `timm.create_model` where timm has a name for the size."""
        name = _timm_name(source.encoder.size)
        create = f'encoder = timm.create_model("{name}", num_classes=10, checkpoint_path="{folder}/{FILE}")'
        return "\n".join(
            [
                "import darl, timm",
                f'encoder = darl.load("{folder}/{FILE}")',
                "features = encoder.forward_features(images)  # (batch, patches, width), in raster order",
                "vector = encoder(images)  # (batch, width)",
                *([] if name is None else [f"{create}  # to fine-tune"]),
            ]
        )


def _timm_name(size: "EncoderConfig") -> str | None:
    """timm's name of an encoder of these widths, of whatever patch size; None where it has none."""
    from darl.model.encoder_config import SIZES
    from darl.model.timm_models import NAMES

    def widths(size: "EncoderConfig") -> tuple[float, ...]:
        return size.width, size.depth, size.heads, size.mlp_ratio

    return next((name for name, known in NAMES.items() if widths(SIZES[known]) == widths(size)), None)
