"""The encoder as an ONNX graph, for runtimes without torch."""

import json
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from darl.export.base import Export, Source, require_pixels

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OnnxGraph"]

FILE = "model.onnx"
INPUT, OUTPUTS = "images", ("features", "vector")

_LARGE = 2**30
"""Bytes of weights above which they lie in a file of their own: a graph's file holds 2 GiB at most."""


@dataclass(frozen=True, kw_only=True)
class OnnxGraph(Export):
    """An ONNX graph for any number of images of the run's size; checked by onnxruntime where that is installed."""

    kind: ClassVar[str] = "onnx"
    needs: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript")
    extra: ClassVar[str] = "onnx"

    def check(self, source: Source) -> None:
        """Raise UserError where the encoder reads tokens: its tokenizer may be any program."""
        require_pixels(self, source)

    def write(self, source: Source, folder: Path) -> None:
        """`model.onnx`, weights included, and `config.json`: the images that it takes, and the run's record."""
        import torch

        class Both(torch.nn.Module):
            """The patches' features and their readout."""

            def __init__(self) -> None:
                super().__init__()
                self.encoder = source.encoder

            def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                patches = self.encoder.forward_features(images)
                return patches, self.encoder.forward_head(patches, pre_logits=True)

        encoder = source.encoder
        large = sum(value.nbytes for value in encoder.parameters()) > _LARGE
        images = torch.zeros(2, encoder.in_chans, *(side * encoder.patch for side in encoder.grid))
        with _quiet():
            torch.onnx.export(
                Both().eval(), (images,), folder / FILE, dynamo=True, dynamic_shapes={"images": {0: "batch"}},
                input_names=[INPUT], output_names=[*OUTPUTS], external_data=large, verbose=False,
            )  # fmt: skip
        record = source.description.experiment.to_record()
        config = {"pretrained_cfg": source.pretrained_cfg, "darl": {"record": record}}
        (folder / "config.json").write_text(json.dumps(config, indent=2))

    def read(self, source: Source, folder: Path, images: "Tensor") -> "tuple[Tensor, Tensor] | None":
        """By onnxruntime, one image and then the others, so that a batch size that is fixed shows."""
        if find_spec("onnxruntime") is None:
            return None
        import onnxruntime
        import torch

        session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
        parts = [session.run(OUTPUTS, {INPUT: part.numpy()}) for part in (images[:1], images[1:])]
        patches, vector = (torch.cat([*map(torch.from_numpy, arrays)]) for arrays in zip(*parts, strict=True))
        return patches, vector

    def loading(self, source: Source, folder: str) -> str:
        """onnxruntime's session."""
        return "\n".join(
            [
                "import onnxruntime",
                f'session = onnxruntime.InferenceSession("{folder}/{FILE}")',
                f'features, vector = session.run({list(OUTPUTS)}, {{"{INPUT}": images}})  # float32 NumPy arrays',
                "# images: (batch, channels, height, width), normalised by mean and std of config.json;",
                "# features: (batch, patches, width), in raster order; vector: (batch, width)",
            ]
        )


@contextmanager
def _quiet() -> Generator[None]:
    """Within, the exporter does not warn of its own code and of what it does not simplify."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
