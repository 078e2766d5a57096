"""Images with masks: the layouts that are read, and what is refused in one line."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from darl.data.dense.masked_images import mask_batches
from darl.data.dense.segmentation import load_segmentation
from darl.errors import UserError


def image(width: int = 8, height: int = 6, level: int = 0) -> Image.Image:
    return Image.new("RGB", (width, height), (level, 0, 0))


def mask(values: list[list[int]] | None = None, mode: str = "L") -> Image.Image:
    array = np.array(values or [[0, 1, 2, 255, 0, 0, 0, 0]] * 6, np.uint8 if mode == "L" else np.uint16)
    return Image.fromarray(array)


def write(folder: Path, pairs: int = 6, images: str = "images", masks: str = "masks") -> Path:
    for name in (images, masks):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(pairs):
        image(level=number).save(folder / images / f"{number}.png")
        mask().save(folder / masks / f"{number}.png")
    return folder


def test_a_folder_without_splits_holds_out_a_fifth(tmp_path: Path) -> None:
    data = load_segmentation(str(write(tmp_path, 10)))
    assert (len(data.train), len(data.validation), data.classes) == (8, 2, 3)
    for split in (data.train, data.validation):
        for index in range(len(split)):
            assert Path(split.images.name(index)).stem == Path(split.masks.name(index)).stem
    assert data.train.mask(0)[0].tolist() == [0, 1, 2, 255, 0, 0, 0, 0]


@pytest.mark.parametrize("layout", [("train/images", "train/masks", "val/images", "val/masks"),
                                    ("images/training", "annotations/training", "images/validation",
                                     "annotations/validation")])  # fmt: skip
def test_splits_stand_above_or_below(tmp_path: Path, layout: tuple[str, str, str, str]) -> None:
    write(tmp_path, 5, *layout[:2])
    write(tmp_path, 3, *layout[2:])
    data = load_segmentation(str(tmp_path))
    assert (len(data.train), len(data.validation)) == (5, 3)
    assert "/".join(data.validation.images.name(0).split("/")[-3:-1]) == layout[2]


def test_folders_below_images_are_part_of_the_name(tmp_path: Path) -> None:
    for city in ("aachen", "bonn"):
        write(tmp_path, 2, f"images/{city}", f"masks/{city}")
    data = load_segmentation(str(tmp_path))
    assert len(data.train) + len(data.validation) == 4


def test_parquet_in_hugging_faces_layout_is_read(tmp_path: Path) -> None:
    def encoded(picture: Image.Image) -> dict[str, object]:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    for split, rows in (("train", 5), ("validation", 2)):
        table = pa.table({
            "scene": ["x"] * rows,
            "image": [encoded(image(level=row)) for row in range(rows)],
            "annotation": [encoded(mask(mode="I;16")) for _ in range(rows)],
        })  # fmt: skip
        pq.write_table(table, tmp_path / f"{split}-00000.parquet", row_group_size=2)
    data = load_segmentation(str(tmp_path))
    assert (len(data.train), len(data.validation), data.classes) == (5, 2, 3)
    ((pixels, masks),) = mask_batches(data.train, size=4, channels=3, batch_size=8)
    assert pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert masks[0].shape == (6, 8)
    pq.write_table(table.drop(["annotation"]), tmp_path / "train-00000.parquet")
    pq.write_table(table.drop(["annotation"]), tmp_path / "validation-00000.parquet")
    with pytest.raises(UserError, match=r"^data must have a column of masks .* with the columns scene, image$"):
        load_segmentation(str(tmp_path))


def test_batches_have_masks_in_their_own_size_or_as_squares(tmp_path: Path) -> None:
    data = load_segmentation(str(write(tmp_path, 6)))
    batches = list(mask_batches(data.train, size=4, channels=1, batch_size=3, order=[4, 0, 2, 1], square=True))
    assert [len(pixels) for pixels, _ in batches] == [3, 1]
    assert batches[0][0].shape == (3, 1, 4, 4)
    assert batches[0][1][0].shape == (4, 4)
    # every second column of the eight, nearest
    assert {*batches[0][1][0][0].tolist()} <= {0, 1, 2, 255}
    state = torch.get_rng_state()
    list(mask_batches(data.train, size=4, channels=1, batch_size=3))
    assert torch.equal(state, torch.get_rng_state())


def test_what_does_not_fit_together_is_one_line(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message) as mistake:
            load_segmentation(str(tmp_path))
        assert "\n" not in str(mistake.value)

    (tmp_path / "images").mkdir()
    image().save(tmp_path / "images" / "a.png")
    refused("^data must hold folders images/ and masks/ for segmentation, or Parquet files with both, got ")
    write(tmp_path, 4)
    refused(r"^data must have a mask for every image, of the same name, got none for \S+/images/a\.png$")
    mask().save(tmp_path / "masks" / "a.png")
    mask().save(tmp_path / "masks" / "b.png")
    refused(r"^data must have an image for every mask, of the same name, got none for \S+/masks/b\.png$")
    (tmp_path / "masks" / "b.png").unlink()
    image(9, 6).save(tmp_path / "images" / "a.png")
    refused(r"^data must have masks of their images' sizes, got \S+/a\.png of 8 x 6 pixels for an image of 9 x 6$")
    image().save(tmp_path / "images" / "a.png")
    image().save(tmp_path / "masks" / "a.png")
    refused(r"^data must hold masks that can be used, got '\S+/masks/a\.png' \(its pixels are colours \(mode RGB\)")
    buffer = io.BytesIO()
    mask().save(buffer, "JPEG")
    (tmp_path / "masks" / "a.png").write_bytes(buffer.getvalue())
    refused(r"^data must hold masks that can be used, got '\S+/masks/a\.png' \(JPEG does not keep class indices")
    (tmp_path / "masks" / "a.png").write_bytes(b"nothing")
    refused(r"^data must hold masks that can be used, got '\S+/masks/a\.png' \(cannot identify")
    mask().save(tmp_path / "masks" / "a.png")
    mask().save(tmp_path / "masks" / "a.bmp")
    refused(r"^data must have one file of each name, not masks/a\.bmp too, got 'masks/a\.png'$")
    (tmp_path / "masks" / "a.bmp").unlink()
    for path in (tmp_path / "masks").iterdir():
        mask([[0, 255] * 4] * 6).save(path)
    refused(r"^data must have masks of at least two classes \(255 is ignored\)")


def test_labelled_data_is_refused() -> None:
    with pytest.raises(UserError, match=r"^data must be a folder or Parquet files that hold images and masks"):
        load_segmentation("digits")


def test_a_coloured_palette_keeps_its_indices(tmp_path: Path) -> None:
    write(tmp_path, 5)
    for path in (tmp_path / "masks").iterdir():
        picture = mask()
        picture.putpalette([*range(255, -1, -1)] * 3)
        picture.save(path)
    data = load_segmentation(str(tmp_path))
    assert data.train.mask(0)[0].tolist() == [0, 1, 2, 255, 0, 0, 0, 0]


def test_another_class_can_be_ignored(tmp_path: Path) -> None:
    data = load_segmentation(str(write(tmp_path, 5)), ignored=0)
    assert data.train.mask(0)[0].tolist() == [255, 1, 2, 255, 255, 255, 255, 255]
    ((_, masks),) = mask_batches(data.validation, size=8, channels=3, batch_size=8, square=True)
    assert {*masks[0].flatten().tolist()} == {1, 2, 255}
