"""COCO's average precision, by pycocotools (extra `coco`)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from darl.variants import require

if TYPE_CHECKING:
    from torch import Tensor

    from darl.data.dense.coco import CocoData

__all__ = ["average_precision", "require_pycocotools", "to_results"]


def require_pycocotools(kind: str) -> None:
    """Raise UserError, naming the extra, where pycocotools is not installed. kind: the protocol."""
    found = importlib.util.find_spec("pycocotools") is not None
    require(found, "protocol", "have pycocotools installed for COCO's AP: pip install 'darl[coco]'", kind)


def to_results(output: dict[str, Tensor], image: int, categories: Sequence[int]) -> list[dict[str, Any]]:
    """Detections of one image in COCO's format for results.

    output: torchvision's `boxes`, `labels`, `scores` and, of a model with masks, `masks`, in the image's own pixels.
    image: its id. categories: the ids of the categories, of which label 1 is the first.
    """
    from pycocotools import mask

    results: list[dict[str, Any]] = []
    masks = output.get("masks")
    boxes, labels, scores = (output[name].tolist() for name in ("boxes", "labels", "scores"))
    for row, ((left, top, right, bottom), label, score) in enumerate(zip(boxes, labels, scores, strict=True)):
        result: dict[str, Any] = {
            "image_id": image, "category_id": categories[label - 1], "score": score,
            "bbox": [left, top, right - left, bottom - top],
        }  # fmt: skip
        if masks is not None:
            inside = (masks[row, 0] > 0.5).cpu().numpy().astype(np.uint8)
            result["segmentation"] = mask.encode(np.asfortranarray(inside))
        results.append(result)
    return results


def average_precision(data: CocoData, results: Any, kind: Literal["bbox", "segm"]) -> float | None:
    """AP at IoU 0.5 to 0.95 of the validation images, in [0, 1]; None where they have no object to find.

    results: of all validation images, see `to_results`. kind: `bbox` or `segm`.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        truth: Any = COCO()
        truth.dataset = data.validation.ground_truth(data.categories)
        truth.createIndex()
        names = {"image_id", "category_id", "score", "bbox"} | ({"segmentation"} if kind == "segm" else set[str]())
        own = [{name: value for name, value in each.items() if name in names} for each in results]  # it adds to them
        evaluation = COCOeval(truth, truth.loadRes(own), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    value = float(evaluation.stats[0])
    return None if value < 0 else value
