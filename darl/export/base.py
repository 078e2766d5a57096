"""The family of export targets: what a target is, and how an export is written, checked and put in place.

A target is one class in one file of this package: `Export.kinds()` finds it, `darl export --to` offers it, and the
contract in tests/conformance/test_exports.py is run on it. Its modules import nothing heavy before they are used.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darl.export.output import whole_folder
from darl.variants import Variant, require

if TYPE_CHECKING:
    from torch import Tensor

    from darl.model.timm_encoder import TimmEncoder
    from darl.training.description import Description

__all__ = ["TOLERANCE", "Export", "Source", "read_source", "require_pixels", "write_export"]

TOLERANCE = 1e-5
"""How far an exported feature may be from the encoder's, as a share of the largest feature (at least of 1)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is exported."""

    name: str
    """The run as the user named it."""
    encoder: "TimmEncoder"
    """In evaluation mode, on the CPU, without classifier."""
    description: "Description"
    """The run that the weights come from. In place of the data's address it has the data's name alone: a path or an
    address, which may hold a key, is nobody else's business."""
    metrics: Mapping[str, Any]
    """The run's row of the tables, by column, without what is absent; empty where there is none."""

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """What timm calls `pretrained_cfg`: the images that the encoder takes, as plain JSON values."""
        return {"fixed_input_size": True, **self.description.origin.pretrained_cfg(0)}


@dataclass(frozen=True, kw_only=True)
class Export(Variant):
    """A target of exports. The first line of a target's docstring is its help. Its fields are flags of `darl export`.

    Each field has `metadata={"help": …}`.
    """

    family: ClassVar[str] = "export"
    package: ClassVar[str] = "darl.export"
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that must be installed, of darl's extra `extra`."""
    extra: ClassVar[str] = ""
    for_hub: ClassVar[bool] = False
    """Whether the folder is one that the Hugging Face Hub can hold."""

    def check(self, source: Source) -> None:
        """Raise UserError, before anything is written, where the target cannot hold the encoder. By default it can."""

    @abstractmethod
    def write(self, source: Source, folder: Path) -> None:
        """Write the files into an empty folder of this machine."""

    @abstractmethod
    def read(self, source: Source, folder: Path, images: "Tensor") -> "tuple[Tensor, Tensor] | None":
        """The patches' features (B, N, W) in raster order and their readout (B, W), by the program it is written for.

        images: normalised, of the encoder's own size. None where that program is not installed.
        """

    @abstractmethod
    def loading(self, source: Source, folder: str) -> str:
        """Lines of Python that load the encoder from the folder and give the features of `images`."""


def require_pixels(export: Export, source: Source) -> None:
    """Raise UserError, for a target that cannot hold a tokenizer, where the encoder reads tokens."""
    remedy = "be huggingface or safetensors, which hold the tokenizer whose tokens this encoder reads"
    require(source.encoder.tokenizer is None, "export", remedy, export.kind)


def read_source(run: str, metrics: Callable[[str, str], Mapping[str, Any]]) -> Source:
    """The encoder of a run, of a fine-tuning without its classifier, and what is known of it. Raises UserError.

    run: see `darl.load`; no fine-tuning with attentive pooling, which no target can hold. metrics: gives a run's row of
    the tables, for the run's name and its trial's id.
    """
    from darl.training.pretrained_encoder import load_described

    encoder, description = load_described(run)
    experiment = description.experiment
    plain = experiment.finetuning is None or not experiment.finetuning.attentive
    require(plain, "checkpoint", "have no attentive pooling, which is darl's own (darl.load takes it)", run)
    encoder.reset_classifier(0)
    named = dataclasses.replace(experiment, data=_name_of(experiment.data))
    return Source(
        name=run,
        encoder=encoder,
        description=dataclasses.replace(description, experiment=named),
        metrics=metrics(run, experiment.trial_id),
    )


def write_export(export: Export, source: Source, output: str) -> float | None:
    """Write an export to a new folder, which appears when it is whole.

    Before, the files are read by the program that they are for, where it is installed, and must give the same features.
    Returns the largest difference between its features and the encoder's as a share of the largest feature; None where
    the program that it is written for is not installed. Raises UserError.
    """
    for package in export.needs:
        install = f"have {package} installed: pip install 'darl[{export.extra}]'"
        require(find_spec(package) is not None, "export", install, export.kind)
    export.check(source)
    with whole_folder(output) as folder:
        export.write(source, folder)
        difference = _difference(export, source, folder)
        remedy = f"give the encoder's features to {TOLERANCE:g} (they differ by {difference}, so nothing was written)"
        require(difference is None or difference <= TOLERANCE, "export", remedy, export.kind)
    return difference


def _difference(export: Export, source: Source, folder: Path) -> float | None:
    import torch

    encoder = source.encoder
    size = [side * encoder.patch for side in encoder.grid]
    images = torch.randn(3, encoder.in_chans, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = export.read(source, folder, images)
        if given is None:
            return None
        patches = encoder.forward_features(images)
        expected = (patches, encoder.forward_head(patches, pre_logits=True))
    shapes = [tuple(tensor.shape) for tensor in given] == [tuple(tensor.shape) for tensor in expected]
    assert shapes, f"{export.kind} gives other shapes"
    scale = max(1.0, patches.abs().max().item())
    return max((a - b).abs().max().item() for a, b in zip(given, expected, strict=True)) / scale


def _name_of(data: str) -> str:
    """A data set's name, for others: of a path or an address the last part."""
    path = data.partition("?")[0] if "://" in data else data
    return path.rstrip("/").rpartition("/")[2] if path.startswith("/") or "://" in path else data
