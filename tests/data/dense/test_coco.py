"""COCO's layout: what is read, what a target holds, and what is refused in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darl.data.dense.coco import load_coco
from darl.data.dense.instance_masks import instance_mask
from darl.errors import UserError
from tests.evaluation.dense.example_dense import write_coco

SIZE = (20, 30)
POLYGONS = [[2.0, 3.0, 20.0, 3.0, 20.0, 15.0, 2.0, 15.0], [22.5, 2.0, 28.0, 10.0, 23.0, 18.0]]


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    usual = {"id": number, "image_id": 1 + number % 5, "category_id": 7, "bbox": [1, 2, 4, 5], "iscrowd": 0, "area": 20,
             "segmentation": [[1, 2, 5, 2, 5, 7, 1, 7]]}  # fmt: skip
    return usual | changes


def write(folder: Path, *own: dict[str, Any], folder_of_images: str = "train2017", **changes: Any) -> Path:
    """Five images of 10 x 8 pixels, the categories 7 and 3, and the annotations."""
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / folder_of_images).mkdir(parents=True, exist_ok=True)
    records = [{"id": number, "file_name": f"{number}.png", "width": 10, "height": 8} for number in range(1, 6)]
    for record in records:
        Image.new("RGB", (10, 8), (record["id"], 0, 0)).save(folder / folder_of_images / record["file_name"])
    content = {"images": records, "annotations": [*own], "categories": [{"id": 7, "name": "b"}, {"id": 3, "name": "a"}]}
    path = folder / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize("images", ["train2017", "images/train2017", "images"])
def test_targets_hold_what_is_trained_on(tmp_path: Path, images: str) -> None:
    crowd = annotation(90, image_id=1, iscrowd=1, segmentation={"size": [8, 10], "counts": [0, 80]})
    thin = annotation(91, image_id=1, bbox=[1, 2, 0, 5])
    write(tmp_path, *(annotation(number) for number in range(5)), annotation(5, category_id=3), crowd, thin,
          folder_of_images=images)  # fmt: skip
    data = load_coco(f"coco:{tmp_path}")
    assert dict(data.categories) == {3: "a", 7: "b"}
    assert (len(data.train), len(data.validation), data.has_masks) == (4, 1, True)
    every = [(split, row) for split in (data.train, data.validation) for row in range(len(split))]
    split, row = next((split, row) for split, row in every if split.records[row]["id"] == 1)
    boxes, labels, masks = split.target(row, [*data.categories], masks=True)
    assert boxes.tolist() == [[1, 2, 5, 7]] * 2
    assert labels.tolist() == [2, 1]
    assert masks is not None
    assert masks.shape == (2, 8, 10)
    assert masks[0].sum() == 20
    assert masks[0, 2:7, 1:5].all()
    assert split.target(row, [3, 7], masks=False).masks is None
    assert split.pixels(row, 3)[0].tolist() == [[1] * 10] * 8


def test_images_without_boxes_are_left_out_of_training_only(tmp_path: Path) -> None:
    write_coco(tmp_path, "train2017", 4, 16)
    path = write_coco(tmp_path, "val2017", 4, 16, first=100)
    content = json.loads(path.read_text())
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] != 101]
    path.write_text(json.dumps(content))
    data = load_coco(f"coco:{tmp_path}")
    assert (len(data.train), len(data.validation)) == (4, 4)
    truth = data.validation.ground_truth(data.categories)
    assert {each["image_id"] for each in truth["annotations"]} == {100, 102, 103}
    assert len({each["id"] for each in truth["annotations"]}) == len(truth["annotations"])


def test_data_without_masks_has_boxes(tmp_path: Path) -> None:
    write(tmp_path, *(annotation(number, segmentation=[]) for number in range(5)))
    data = load_coco(f"coco:{tmp_path}")
    assert not data.has_masks
    assert data.train.target(0, [3, 7], masks=False).boxes.shape == (1, 4)


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    def refused(message: str, *own: dict[str, Any], **changes: Any) -> None:
        if own or changes:
            write(tmp_path, *own, **changes)
        with pytest.raises(UserError, match=message) as mistake:
            load_coco(f"coco:{tmp_path}")
        assert "\n" not in str(mistake.value)

    refused(r"^data must hold annotations/instances_\*\.json")
    usual = [annotation(number) for number in range(5)]
    refused(r"^data must hold annotations, and has none, got '\S+json'$", annotations=[])
    refused(r"^data must have annotations of its 2 categories in \S+, not of an unknown one, got 9$",
            annotation(0, category_id=9))  # fmt: skip
    refused(r"^data must have annotations of its images in \S+, got 77$", annotation(0, image_id=77))
    refused(r"^data must have bbox in every annotation of \S+, got \{", {"image_id": 1, "category_id": 7})
    refused(r"^data must have boxes of four numbers in \S+, got \[1, 2\]$", annotation(0, bbox=[1, 2]))
    refused(r"^data must hold annotations in COCO's format, got '\S+' \(it has no 'width'\)$", *usual, images=[
        {"id": 1, "file_name": "1.png"}])  # fmt: skip
    refused(r"^data must have annotations with boxes of its training images",
            *(annotation(number, iscrowd=1) for number in range(5)))  # fmt: skip
    write(tmp_path, *usual).write_text("{")
    refused(r"^data must hold annotations in COCO's format, got '\S+' \(Expecting property name")
    write(tmp_path, *usual)
    (tmp_path / "train2017" / "3.png").unlink()
    refused(r"^data must hold the images of its annotations, got '3\.png', which is in none of train2017/, images/")
    for text in (str(tmp_path), "coco:"):
        with pytest.raises(UserError, match=r"^data must be coco:FOLDER"):
            load_coco(text)


def test_an_image_of_another_size_or_a_broken_one_is_named(tmp_path: Path) -> None:
    write(tmp_path, *(annotation(number) for number in range(5)))
    data = load_coco(f"coco:{tmp_path}")
    name = data.train.paths[data.train.records[0]["id"]]
    Image.new("RGB", (8, 10)).save(tmp_path / name)
    with pytest.raises(UserError, match=r"^data must have images of the recorded sizes, got .* of 8 x 10 pixels, reco"):
        data.train.pixels(0, 3)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=rf"^data must hold images that can be read, got '\S*{name}' \(cannot identify"):
        data.train.pixels(0, 3)


def test_masks_are_pycocotools() -> None:
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed (extra coco)")
    own = instance_mask(POLYGONS, SIZE)
    peer = mask.decode(mask.merge(mask.frPyObjects(POLYGONS, *SIZE)))
    assert own[3:15, 2:20].all()
    assert (own & peer).sum() / (own | peer).sum() > 0.95  # they differ by pixels on slanted edges
    random = np.random.default_rng(0).integers(1, 9, 200)
    counts = [int(value) for value in random[: int(np.searchsorted(random.cumsum(), SIZE[0] * SIZE[1]))]]
    counts.append(SIZE[0] * SIZE[1] - sum(counts))
    plain = {"size": [*SIZE], "counts": counts}
    packed = mask.frPyObjects(plain, *SIZE)
    assert np.array_equal(instance_mask(plain, SIZE), mask.decode(packed))
    assert np.array_equal(instance_mask(packed, SIZE), mask.decode(packed))


@pytest.mark.parametrize(("segmentation", "message"), [
    ([[1, 2, 3, 4]], r"^data must have polygons of at least three points x, y, got \[1, 2, 3, 4\]"),
    ({"size": [20, 30], "counts": [1, 2]}, r"^data must have run lengths that add up to 20 x 30 pixels"),
    ({"size": [30, 20], "counts": [600]}, r"^data must have masks of their image's size \(20, 30\)"),
])  # fmt: skip
def test_masks_that_cannot_be_are_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        instance_mask(segmentation, SIZE)
