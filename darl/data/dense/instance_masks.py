"""COCO's three ways to write an object's mask: polygons, run lengths, and compressed run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from darl.errors import UserError
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import UInt8

__all__ = ["instance_mask"]

FINER = 9
"""Parts of a pixel's side in which polygons are drawn; odd, so that one part is the centre."""


def instance_mask(segmentation: Any, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """The mask of one object, 1 inside.

    segmentation: polygons [[x, y, x, y, …], …] whose areas are joined, or {"size": [height, width], "counts": …} with
    the lengths of alternating runs of 0 and 1, column by column; as a text they are compressed, which pycocotools
    decodes. size: (height, width) of the image. Raises UserError.
    """
    if isinstance(segmentation, dict):
        said = tuple(segmentation.get("size", ()))
        require(said == size, "data", f"have masks of their image's size {size}", said)
        counts = segmentation.get("counts")
        return _decompressed(segmentation) if isinstance(counts, str | bytes) else _from_runs(counts, size)
    return _from_polygons(segmentation, size)


def _from_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie inside. Coordinates are of pixels' corners, as COCO's."""
    whole = np.zeros(size, np.uint8)
    for outline in polygons:
        usable = len(outline) >= 6 and len(outline) % 2 == 0
        require(usable, "data", "have polygons of at least three points x, y", outline)
        points = np.asarray(outline, np.float64).reshape(-1, 2).clip(0, size[::-1])
        left, top = np.floor(points.min(0)).astype(int)
        right, bottom = np.ceil(points.max(0)).astype(int)
        if right <= left or bottom <= top:
            continue
        # PIL fills every pixel that an edge touches: so it draws finer ones, of which the centres are taken
        fine = Image.new("L", (FINER * int(right - left), FINER * int(bottom - top)), 0)
        ImageDraw.Draw(fine).polygon([*map(float, (FINER * (points - (left, top)) - 0.5).ravel())], fill=1)
        whole[top:bottom, left:right] |= np.asarray(fine)[FINER // 2 :: FINER, FINER // 2 :: FINER]
    return whole


def _from_runs(counts: Any, size: tuple[int, int]) -> np.ndarray:
    whole = isinstance(counts, list) and sum(counts) == size[0] * size[1]
    require(whole, "data", f"have run lengths that add up to {size[0]} x {size[1]} pixels", counts)
    values = np.arange(len(counts), dtype=np.uint8) % 2
    return np.repeat(values, counts).reshape(size, order="F")


def _decompressed(segmentation: Any) -> np.ndarray:
    try:
        from pycocotools import mask
    except ImportError:
        raise UserError(
            "must have run lengths as numbers unless pycocotools is installed (pip install 'darl[coco]'), got text",
            field="data",
        ) from None
    return mask.decode(segmentation)
