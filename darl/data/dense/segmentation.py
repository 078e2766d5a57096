"""Images with masks of class indices: two folders of files, or Parquet files with two image columns.

    FOLDER/images/NAME.jpg      FOLDER/masks/NAME.png       one mask for each image, of the same name and size
    FOLDER/train/images/…       FOLDER/val/masks/…          with splits, which may also stand below: images/train/…

`annotations` is another name for `masks`. In Parquet (Hugging Face's layout) the images are the column `image` and the
masks `annotation`, `mask`, `label` or `segmentation`. A mask's pixels are class indices from 0 on; 255 is ignored.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from darl.data.dense.masked_images import IGNORED, MaskedImages, unusable
from darl.data.formats.listing import Listing, listing
from darl.data.formats.parquet import ParquetImages, image_column
from darl.data.formats.split_names import split_of
from darl.data.locate import locate
from darl.data.sources.base import Source, Subset, hold_out
from darl.errors import UserError, reason
from darl.variants import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SegmentationData", "load_segmentation"]

ROLES = {"images": "images", "masks": "masks", "annotations": "masks"}
COLUMNS = ("annotation", "mask", "label", "segmentation")
THREADS = 8
"""Files that are read at once."""


@dataclass(frozen=True, eq=False)
class SegmentationData:
    """A data set's training and validation split, and the number of classes: one more than the highest in a mask."""

    name: str
    train: MaskedImages
    validation: MaskedImages
    classes: int


def load_segmentation(data: str, ignored: int = IGNORED) -> SegmentationData:
    """Images with masks in a folder or in Parquet files, also at s3:// or gs://.

    ignored: a class index that is ignored as 255 is. Without `val` or `test`, a fifth of the images is held out. Every
    mask is read once, to know the classes and to refuse what does not fit together before anything is trained. Raises
    UserError.
    """
    name = locate(data)
    in_files = "://" in name or name.startswith("/")
    require(in_files, "data", "be a folder or Parquet files that hold images and masks for segmentation", data)
    files = listing(name)
    parquet = files.only((".parquet",))
    train, validation = _parquet_splits(parquet) if parquet.paths else _folder_splits(files, name)
    if validation is None:
        kept, held = hold_out(name, train.images)
        train, validation = (MaskedImages(each, Subset(train.masks, _rows(each))) for each in (kept, held))
    train, validation = (replace(split, ignored=ignored) for split in (train, validation))
    with ThreadPoolExecutor(THREADS) as pool:
        counts = [max(pool.map(split.checked_classes, range(len(split)))) for split in (train, validation)]
    remedy = f"have masks of at least two classes ({IGNORED} is ignored)"
    require(counts[0] >= 2, "data", remedy, name)
    require(counts[1] >= 1, "data", f"have validation masks that do not ignore all ({IGNORED})", name)
    return SegmentationData(name, train, validation, max(counts))


def _rows(subset: Source) -> np.ndarray:
    assert isinstance(subset, Subset)
    return subset.indices


def _folder_splits(files: Listing, name: str) -> tuple[MaskedImages, MaskedImages | None]:
    """The pairs of a folder, by split. Raises UserError, naming what has no partner."""
    from darl.data.formats.folder import IMAGES

    found: dict[str, dict[str, dict[str, str]]] = {}  # by split, role and stem
    for path in files.only(IMAGES).paths:
        if (place := _place(path)) is not None:
            role, split, stem = place
            known = found.setdefault(split, {"images": {}, "masks": {}})[role]
            require(stem not in known, "data", f"have one file of each name, not {known.get(stem)} too", path)
            known[stem] = path
    layout = "hold folders images/ and masks/ for segmentation, or Parquet files with both"
    require(any(roles["masks"] for roles in found.values()), "data", layout, name)
    splits = {split: _paired(files, roles["images"], roles["masks"]) for split, roles in found.items()}
    train = splits.get("train") or splits.get("")
    require(train is not None, "data", f"hold training images (its splits are {', '.join(splits)})", name)
    assert train is not None
    return train, splits.get("validation") or splits.get("test")


def _place(path: str) -> tuple[str, str, str] | None:
    """What a file is (`images` or `masks`), its split and its name without them; None for a file of neither folder."""
    *folders, file = path.split("/")
    roles = [folder for folder in folders[:2] if folder.lower() in ROLES]
    if not roles:
        return None
    others = [folder for folder in folders if folder is not roles[0]]
    split = split_of(others[0]) if others else ""
    stem = "/".join([*(others[1:] if split else others), file.rpartition(".")[0]])
    return ROLES[roles[0].lower()], split, stem


def _paired(files: Listing, images: dict[str, str], masks: dict[str, str]) -> MaskedImages:
    from darl.data.formats.folder import Folder

    for here, there, what in ((images, masks, "a mask for every image"), (masks, images, "an image for every mask")):
        alone = [here[stem] for stem in sorted(here) if stem not in there]
        if alone:
            more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
            shown = f"none for {', '.join(map(files.full, alone[:3]))}{more}"
            raise UserError(f"must have {what}, of the same name, got {shown}", field="data")
    sizes, stems = dict(zip(files.paths, files.sizes, strict=True)), sorted(images)

    def source(paths: list[str]) -> Source:
        return Folder(Listing(files.storage, files.root, tuple(paths), tuple(sizes[path] for path in paths)))

    return MaskedImages(source([images[stem] for stem in stems]), source([masks[stem] for stem in stems]))


def _parquet_splits(files: Listing) -> tuple[MaskedImages, MaskedImages | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from darl.data.formats.listing import by_split

    first = files.full(files.paths[0])
    try:
        with files.storage.filesystem.open_input_file(first) as file:
            schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise unusable("Parquet file", first, reason(error)) from None
    image = image_column(schema, first)
    mask = _mask_column(schema, image, first)

    def pairs(paths: list[str]) -> MaskedImages:
        return MaskedImages(ParquetImages(files, paths, image, None), ParquetImages(files, paths, mask, None))

    train, validation, test = by_split(files.paths)
    held = validation or test
    return pairs(train), pairs(held) if held else None


def _mask_column(schema: pa.Schema, image: str, path: str) -> str:
    """The column with the masks; raises UserError, naming the columns, where there is none."""
    import pyarrow as pa

    others = [
        field.name
        for field in schema
        if field.name != image and pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    named = [name for name in COLUMNS if name in others]
    if not named and len(others) != 1:
        known = f"{path!r} with the columns {', '.join(schema.names)}"
        raise UserError(
            f"must have a column of masks (images named {', '.join(COLUMNS)}) for segmentation, got {known}",
            field="data",
        )
    return (named or others)[0]
