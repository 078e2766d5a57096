"""Images with boxes, classes and instance masks, in COCO's layout (Lin et al. 2014; cocodataset.org/#format-data).

    FOLDER/annotations/instances_train2017.json      FOLDER/train2017/000000000009.jpg
    FOLDER/annotations/instances_val2017.json        FOLDER/val2017/…

The images may also be in `images/train2017` or all in `images`. With one file of annotations, a fifth of its images is
held out. Crowd regions (`iscrowd`) and boxes without area are not trained on; images without any other box are left out
of training. Validation keeps all: COCO's AP has its own rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from darl.data.decode import open_image, orient, silence_pil, to_pixels
from darl.data.dense.instance_masks import instance_mask
from darl.data.formats.listing import Listing, listing
from darl.data.formats.split_names import split_of
from darl.data.sources.base import HELD_OUT
from darl.errors import UserError, reason
from darl.randomness import generator
from darl.storage.address import normalized
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import UInt8

__all__ = ["PREFIX", "CocoData", "CocoImages", "Target", "load_coco"]

PREFIX = "coco:"
"""The beginning of a data set's name; the rest is a folder's path or address."""

Annotation = Mapping[str, Any]


class Target(NamedTuple):
    """What an image shows."""

    boxes: Tensor
    """(objects, 4) float32: left, top, right, bottom in pixels."""
    labels: Tensor
    """(objects) int64, from 1 on: 0 is the background."""
    masks: Tensor | None
    """(objects, height, width) uint8, 1 inside; None where an object of the data set has none."""


@dataclass(frozen=True, eq=False)
class CocoImages:
    """A split: images, and the annotations of each."""

    files: Listing
    paths: Mapping[int, str]
    """Paths below the folder, by image id."""
    records: Sequence[Mapping[str, Any]]
    """The images' own records: id, width, height."""
    annotations: Mapping[int, Sequence[Annotation]]
    """By image id."""

    def __len__(self) -> int:
        return len(self.records)

    def pixels(self, index: int, channels: int) -> UInt8[np.ndarray, "channels height width"]:
        """An image in its own size. Raises UserError where it is broken, or its size is not the recorded one."""
        record = self.records[index]
        name = self.files.full(self.paths[record["id"]])
        try:
            with silence_pil():
                image = orient(open_image(self.files.storage.read(name)), channels)
        except UserError:
            raise
        except Exception as error:  # PIL's plug-ins raise anything on a broken file
            said = f"{name!r} ({reason(error)})"
            raise UserError(f"must hold images that can be read, got {said}", field="data") from None
        size = (record["width"], record["height"])
        said = f"{name!r} of {image.width} x {image.height} pixels, recorded as {size[0]} x {size[1]}"
        if image.size != size:
            raise UserError(f"must have images of the recorded sizes, got {said}", field="data")
        return to_pixels(image)

    def usable(self, index: int) -> list[Annotation]:
        """The annotations of an image that are trained on."""
        own = self.annotations.get(self.records[index]["id"], [])
        return [each for each in own if not each.get("iscrowd") and each["bbox"][2] > 0 and each["bbox"][3] > 0]

    def target(self, index: int, categories: Sequence[int], *, masks: bool) -> Target:
        """What an image shows; the label of a category is its place among `categories`, from 1 on."""
        own, record = self.usable(index), self.records[index]
        corners = torch.tensor([each["bbox"] for each in own], dtype=torch.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = torch.tensor([1 + categories.index(each["category_id"]) for each in own], dtype=torch.int64)
        size = record["height"], record["width"]
        drawn = [instance_mask(each["segmentation"], size) for each in own] if masks else []
        stacked = torch.from_numpy(np.stack(drawn)) if drawn else torch.zeros(0, *size, dtype=torch.uint8)
        return Target(corners, labels, stacked if masks else None)

    def only(self, indices: Sequence[int]) -> CocoImages:
        """Some of the images."""
        return replace(self, records=[self.records[index] for index in indices])

    def ground_truth(self, categories: Mapping[int, str]) -> dict[str, Any]:
        """The split in COCO's format, with what pycocotools reads of each annotation."""
        shown = {record["id"] for record in self.records}
        every = [each for image, own in self.annotations.items() if image in shown for each in own]
        boxes = [{"iscrowd": 0, "area": each["bbox"][2] * each["bbox"][3], **each, "id": number}
                 for number, each in enumerate(every, start=1)]  # fmt: skip
        named = [{"id": number, "name": name} for number, name in categories.items()]
        return {"info": {}, "images": list(self.records), "annotations": boxes, "categories": named}


@dataclass(frozen=True, eq=False)
class CocoData:
    """A data set's training and validation split, and its categories."""

    name: str
    train: CocoImages
    """Without images that have no box to train on."""
    validation: CocoImages
    categories: Mapping[int, str]
    """Names by id, in ascending order of the ids."""
    has_masks: bool
    """Whether every annotation has a mask."""


def load_coco(data: str) -> CocoData:
    """A data set `coco:FOLDER`, also at s3:// or gs://. Annotations are read and checked, images are not decoded.

    Raises UserError.
    """
    folder = data.removeprefix(PREFIX)
    require(data.startswith(PREFIX) and folder != "", "data", f"be {PREFIX}FOLDER, a data set in COCO's layout", data)
    name = normalized(folder)
    files = listing(name)
    chosen = _annotation_files(files, name)
    splits, categories = dict[str, CocoImages](), dict[int, str]()
    for split, path in chosen.items():
        splits[split], own = _read(files, path)
        require(not categories or own == categories, "data", "have the same categories in both splits", name)
        categories = own
    train, validation = splits["train"], splits.get("validation")
    if validation is None:
        require(len(train) > 1, "data", "hold at least two images, one to validate on", name)
        order = torch.randperm(len(train), generator=generator("held-out images")).tolist()
        held = sorted(order[min(HELD_OUT // 2, len(order) - 1) :: HELD_OUT])
        train, validation = train.only(sorted({*order} - {*held})), train.only(held)
    train = train.only([index for index in range(len(train)) if train.usable(index)])
    for what, split in (("training", train), ("validation", validation)):
        empty = not any(split.usable(index) for index in range(len(split)))
        require(not empty, "data", f"have annotations with boxes of its {what} images", name)
    every = [each for split in (train, validation) for own in split.annotations.values() for each in own]
    has_masks = all(each.get("segmentation") for each in every)
    return CocoData(f"{PREFIX}{name}", train, validation, categories, has_masks)


def _annotation_files(files: Listing, name: str) -> dict[str, str]:
    """The file of annotations of `train` and, where there is one, of `validation`. Raises UserError."""
    remedy = "hold annotations/instances_*.json, as instances_train2017.json"
    found: dict[str, str] = {}
    for path in files.paths:
        *folders, file = path.split("/")
        if file.startswith("instances_") and file.endswith(".json") and folders in (["annotations"], []):
            split = split_of(file.removeprefix("instances_")) or "train"
            remedy_one = f"have one file of {split} annotations, not {found.get(split)} too"
            require(split not in found, "data", remedy_one, path)
            found[split] = path
    require("train" in found, "data", remedy, name)
    validation = found.get("validation") or found.get("test")
    return {"train": found["train"]} | ({"validation": validation} if validation else {})


def _read(files: Listing, path: str) -> tuple[CocoImages, dict[int, str]]:
    """The images and categories of a file of annotations, checked. Raises UserError."""
    full = files.full(path)
    records, categories, annotations = _parsed(files, full)
    require(bool(annotations), "data", "hold annotations, and has none", full)
    known = {record["id"] for record in records}
    by_image: dict[int, list[Annotation]] = {}
    for each in annotations:
        remedy = f"have annotations of its {len(categories)} categories in {full}"
        require(each["category_id"] in categories, "data", f"{remedy}, not of an unknown one", each["category_id"])
        require(each["image_id"] in known, "data", f"have annotations of its images in {full}", each["image_id"])
        by_image.setdefault(each["image_id"], []).append(each)
    split = path.rpartition("/")[2].removeprefix("instances_").removesuffix(".json")
    return CocoImages(files, _image_paths(files, records, split), records, by_image), categories


def _parsed(files: Listing, full: str) -> tuple[list[dict[str, Any]], dict[int, str], list[dict[str, Any]]]:
    """The records of images, the names of categories by id, and the annotations, each with what is read of it."""
    try:
        content = json.loads(files.storage.read(full))
        records = [{key: image[key] for key in ("id", "file_name", "width", "height")} for image in content["images"]]
        categories = {int(each["id"]): str(each["name"]) for each in content["categories"]}
        annotations = list(content["annotations"])
        for each in annotations:
            absent = {"image_id", "category_id", "bbox"} - each.keys()
            require(not absent, "data", f"have {', '.join(sorted(absent))} in every annotation of {full}", each)
            require(len(each["bbox"]) == 4, "data", f"have boxes of four numbers in {full}", each["bbox"])
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else reason(error)
        raise UserError(f"must hold annotations in COCO's format, got {full!r} ({why})", field="data") from None
    return records, dict(sorted(categories.items())), annotations


def _image_paths(files: Listing, records: Sequence[Mapping[str, Any]], split: str) -> dict[int, str]:
    """Where each image is, by id. Raises UserError, naming the first that is missing."""
    there = set(files.paths)
    folders = [f"{split}/", f"images/{split}/", "images/", ""]
    found: dict[int, str] = {}
    for record in records:
        path = next((path for each in folders if (path := f"{each}{record['file_name']}") in there), None)
        if path is None:
            looked = ", ".join(folder for folder in folders if folder)
            expected = f"{record['file_name']!r}, which is in none of {looked} below {files.root}"
            raise UserError(f"must hold the images of its annotations, got {expected}", field="data")
        found[record["id"]] = path
    return found
