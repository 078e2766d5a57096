"""Small images of coloured shapes on noise, with the shapes' masks and boxes."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig

__all__ = ["COLOURS", "Drawing", "draw", "experiment", "write_coco", "write_masks"]

COLOURS = {"square": (230, 60, 50), "circle": (60, 200, 70), "triangle": (70, 80, 240)}
"""The shapes are classes 1 to 3, the background is 0."""

Drawing = list[tuple[str, list[float]]]
"""Shapes and their outlines as polygons x, y, x, y, …"""


def experiment(size: int = 32, **changes: object) -> Experiment:
    settings: dict[str, object] = {"image_size": size, "channels": 3, "position": "rope2d", **changes}
    shape = EncoderConfig(width=32, depth=2, heads=2, patch_size=4)
    return Experiment(model=shape).changed(settings)


def draw(number: int, size: int) -> tuple[Image.Image, Drawing]:
    """An image with one to three shapes, none of which covers another."""
    random = np.random.default_rng(number)
    canvas = Image.fromarray(random.integers(90, 150, (size, size, 3), dtype=np.uint8))
    shapes, taken = list[tuple[str, list[float]]](), list[tuple[int, int, int]]()
    for _ in range(int(random.integers(1, 4))):
        side = int(random.integers(size // 4, size // 2))
        x, y = (int(value) for value in random.integers(0, size - side, 2))
        if any(abs(x - u) < max(side, v) and abs(y - w) < max(side, v) for u, w, v in taken):
            continue
        taken.append((x, y, side))
        kind = list(COLOURS)[int(random.integers(3))]
        outline = _outline(kind, x, y, side)
        ImageDraw.Draw(canvas).polygon(outline, fill=COLOURS[kind])
        shapes.append((kind, outline))
    return canvas, shapes


def _outline(kind: str, x: int, y: int, side: int) -> list[float]:
    if kind == "square":
        return [x, y, x + side, y, x + side, y + side, x, y + side]
    if kind == "triangle":
        return [x + side / 2, y, x + side, y + side, x, y + side]
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = np.stack([x + side / 2 * (1 + np.cos(angles)), y + side / 2 * (1 + np.sin(angles))], 1)
    return [float(value) for value in points.ravel()]


def write_masks(folder: Path, count: int, size: int, first: int = 0) -> None:
    """`folder/images` and `folder/masks`."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(first, first + count):
        image, shapes = draw(number, size)
        mask = Image.new("L", image.size, 0)
        for kind, outline in shapes:
            ImageDraw.Draw(mask).polygon(outline, fill=1 + list(COLOURS).index(kind))
        image.save(folder / "images" / f"{number:04d}.png")
        mask.save(folder / "masks" / f"{number:04d}.png")


def write_coco(folder: Path, split: str, count: int, size: int, first: int = 0) -> Path:
    """`folder/SPLIT` and `folder/annotations/instances_SPLIT.json`; returns the latter."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images, annotations = list[dict[str, object]](), list[dict[str, object]]()
    for number in range(first, first + count):
        image, shapes = draw(number, size)
        name = f"{number:04d}.png"
        image.save(folder / split / name)
        images.append({"id": number, "file_name": name, "width": size, "height": size})
        for kind, outline in shapes:
            xs, ys = outline[::2], outline[1::2]
            box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": 10 * (1 + list(COLOURS).index(kind)),
                "bbox": box, "segmentation": [outline], "iscrowd": 0, "area": box[2] * box[3],
            })  # fmt: skip
    categories = [{"id": 10 * (1 + number), "name": kind} for number, kind in enumerate(COLOURS)]
    path = folder / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
