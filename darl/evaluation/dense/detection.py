"""Detection and instance segmentation: the encoder trained on with Mask R-CNN, judged by COCO's AP."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from darl.evaluation.dense.base import DenseProtocol, Setting, image_side
from darl.evaluation.dense.detecting.average_precision import average_precision, require_pycocotools, to_results
from darl.evaluation.dense.detecting.recipe import USUAL, Recipe, parse_settings, usual_recipe
from darl.metrics import DENSE_METRICS, Metric
from darl.optim import Optimizer, build_optimizer, build_schedule
from darl.randomness import generator, seed_of
from darl.variants import field_types, require

if TYPE_CHECKING:
    from darl.data.dense.coco import CocoData, Target
    from darl.evaluation.dense.detecting.detector import Detector
    from darl.evaluation.protocol import Value
    from darl.model.config import ModelConfig
    from darl.model.darl import Darl

__all__ = ["DetectionProtocol"]

BOX_AP, MASK_AP = DENSE_METRICS["detection_box_ap"], DENSE_METRICS["detection_mask_ap"]

Row = tuple[Tensor, "Target"]
"""An image with pixels in [0, 1] (channels, height, width), and what it shows."""


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol(DenseProtocol):
    """COCO's AP of boxes and of masks after training Mask R-CNN on ViTDet's feature pyramid, in [0, 1].

    A copy of the encoder is trained with the heads (`detecting.detector`) by ViTDet's recipe (Li et al. 2022, arXiv
    2203.16527, appendix A.2): AdamW (0.9, 0.999) with weight decay 0.1 and layer-wise learning rates. Unlike there,
    images are flipped but not scaled at random, and the rate falls along a cosine after a warm-up of a tenth. The
    validation images choose nothing. Data without masks for every object is judged by boxes alone. On a CPU two
    measurements are equal; on a GPU RoIAlign adds up its gradients in an order of its own, so they nearly are.

    Settings that are `usual` suit the model and the images: see `detecting.recipe.usual_recipe`.

    epochs, batch_size: numbers. learning_rate: the peak. layer_decay: each layer's rate as a multiple of that of the
    layer above it. channels: of the pyramid and the heads. proposals: of an image that the heads are trained on. size:
    pixels of an image's longer side; 0 for the model's own. mask: the causal mask, `removed`, as in fine-tuning, or
    `kept`. frozen: whether the encoder stays as it is. flip: whether images are mirrored at random. seed: of the heads'
    weights, the order and what torchvision samples.
    """

    kind: ClassVar[str] = "detection"
    gives: ClassVar[tuple[Metric, ...]] = (BOX_AP, MASK_AP)
    reads: ClassVar[str] = "images with boxes (coco:FOLDER, in COCO's layout)"
    epochs: str = USUAL
    batch_size: str = USUAL
    learning_rate: str = USUAL
    layer_decay: str = USUAL
    channels: str = USUAL
    proposals: str = USUAL
    size: int = 0
    mask: str = "removed"
    frozen: bool = False
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.mask in ("kept", "removed"), "protocol.mask", "be kept or removed", self.mask)
        require(self.size >= 0, "protocol.size", "be positive, or 0 for the model's own", self.size)
        require(0 <= self.seed < 2**63, "protocol.seed", "be in [0, 2^63)", self.seed)
        parse_settings(self._settings)

    @property
    def _settings(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in field_types(Recipe)}

    def recipe(self, config: ModelConfig) -> Recipe:
        """The settings of the training of a model of this configuration."""
        return parse_settings(self._settings, usual_recipe(config, image_side(self.size, config)))

    def check(self) -> None:
        """See `DenseProtocol.check`."""
        require_pycocotools(self.kind)

    def load(self, data: str) -> CocoData:
        """See `DenseProtocol.load`."""
        from darl.data.dense.coco import load_coco  # here, since it imports what decodes images

        return load_coco(data)

    def measure(self, model: Darl, data: CocoData, setting: Setting) -> Mapping[str, Value]:
        """See `DenseProtocol.measure`. Raises ArithmeticError where the training diverges."""
        self.check()
        devices = [setting.device] if setting.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # torchvision samples by the global generators
            torch.manual_seed(seed_of("detection", self.seed))
            detector = self.detector(model, data, setting)
            self._train(detector, self.recipe(model.config), data, setting)
            results = self._detections(detector, data, setting)
        mask_ap = average_precision(data, results, "segm") if data.has_masks else None
        return {BOX_AP.column: average_precision(data, results, "bbox"), MASK_AP.column: mask_ap}

    def flops(self, data: CocoData, config: ModelConfig) -> float:
        """Three forward passes of a square image in each epoch, one of a validation image.

        A frozen encoder is passed forward only. Validation images have twice the proposals, as torchvision's 1,000.
        """
        from darl.evaluation.dense.detecting.detector import detector_flops

        side, recipe = image_side(self.size, config), self.recipe(config)
        image = detector_flops(config, side, recipe.channels, recipe.proposals, masks=data.has_masks)
        tested = detector_flops(config, side, recipe.channels, 1000, masks=False)
        saved = 2 * config.trunk_flops((side // config.size.patch_size) ** 2) if self.frozen else 0.0
        return recipe.epochs * len(data.train) * (3 * image - saved) + len(data.validation) * tested

    def detector(self, model: Darl, data: CocoData, setting: Setting) -> Detector:
        """The model that is trained: a copy of the encoder, and heads from torch's global generator."""
        from darl.evaluation.dense.detecting.detector import Detector, PyramidEncoder

        encoder, recipe = copy.deepcopy(model.encoder), self.recipe(model.config)
        detector = Detector(
            PyramidEncoder(encoder, recipe.channels, masked=self.mask == "kept", frozen=self.frozen),
            1 + len(data.categories),
            side=image_side(self.size, model.config),
            mean=setting.mean,
            std=setting.std,
            proposals=recipe.proposals,
            masks=data.has_masks,
        )
        return detector.to(setting.device)

    def _train(self, detector: Detector, recipe: Recipe, data: CocoData, setting: Setting) -> None:
        batch = min(recipe.batch_size, len(data.train))
        steps = len(data.train) // batch
        adamw = Optimizer(weight_decay=0.1, beta2=0.999, warmup=0.1)
        optimizer = build_optimizer(detector, adamw, recipe.learning_rate, recipe.layer_decay)
        schedule = build_schedule(optimizer, adamw, recipe.epochs * steps)
        detector.train()
        for epoch in range(recipe.epochs):
            order = torch.randperm(len(data.train), generator=generator(self.seed, "order of images", epoch)).tolist()
            batches = self._rows(data, setting, order[: steps * batch], batch, epoch)
            for number, rows in enumerate(batches, start=1 + epoch * steps):
                schedule.step_update(number)
                self._step(detector, optimizer, rows, setting)

    def _step(self, detector: Detector, optimizer: torch.optim.Optimizer, rows: list[Row], setting: Setting) -> None:
        images = [image.to(setting.device) for image, _ in rows]
        targets = [{name: value.to(setting.device) for name, value in target._asdict().items() if value is not None}
                   for _, target in rows]  # fmt: skip
        with torch.enable_grad():
            losses: Mapping[str, Tensor] = detector(images, targets)
            loss = torch.stack([*losses.values()]).sum()
            if not loss.isfinite():
                raise ArithmeticError("detection has diverged: try a lower learning_rate")
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def _detections(self, detector: Detector, data: CocoData, setting: Setting) -> list[dict[str, Any]]:
        detector.eval()
        results, categories = list[dict[str, Any]](), [*data.categories]
        for index, record in enumerate(data.validation.records):
            image = torch.from_numpy(data.validation.pixels(index, len(setting.mean)).copy()).float() / 255
            results += to_results(detector([image.to(setting.device)])[0], record["id"], categories)
        return results

    def _rows(self, data: CocoData, setting: Setting, order: list[int], batch: int, epoch: int) -> Iterator[list[Row]]:
        """The training images in an order, mirrored by chance where `flip` is on."""
        mirrored = torch.rand(len(data.train), generator=generator(self.seed, "flips", epoch)) < 0.5
        chosen = [(index, self.flip and bool(mirrored[index])) for index in order]
        rows: Any = _Rows(data, chosen, len(setting.mean))
        yield from DataLoader(
            rows,
            batch,
            num_workers=setting.loader_workers,
            multiprocessing_context="spawn" if setting.loader_workers and data.train.files.storage.remote else None,
            collate_fn=list,
            generator=torch.Generator(),
        )


@dataclass(frozen=True)
class _Rows:
    """Training images as the loader's workers decode them."""

    data: CocoData
    chosen: list[tuple[int, bool]]
    """Indices, and whether the image is mirrored."""
    channels: int

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, row: int) -> Row:
        index, mirror = self.chosen[row]
        split = self.data.train
        image = torch.from_numpy(split.pixels(index, self.channels).copy()).float() / 255
        target = split.target(index, [*self.data.categories], masks=self.data.has_masks)
        return mirrored_row(image, target) if mirror else (image, target)


def mirrored_row(image: Tensor, target: Target) -> Row:
    """An image and what it shows, left and right exchanged."""
    left, top, right, bottom = target.boxes.unbind(1)
    width = image.shape[2]
    boxes = torch.stack([width - right, top, width - left, bottom], 1)
    return image.flip(2), target._replace(boxes=boxes, masks=None if target.masks is None else target.masks.flip(2))
