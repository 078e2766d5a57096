"""Small images and containers of them, made on the spot."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(seed: int, width: int = 12, height: int = 12, mode: str = "RGB") -> Image.Image:
    """An image of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def channels_first(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_folder(root: Path, names: list[str], size: int = 12) -> Path:
    """A PNG for each name; image number i is `picture(i)`."""
    for number, name in enumerate(names):
        write(root / name, encoded(picture(number, size, size)))
    return root


def write_parquet(path, images, labels=None, names=None, column="image", rows_per_group=10, label_type=None) -> Path:
    """Hugging Face's layout; `images` are bytes or None."""
    values = [None if image is None else {"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {column: pa.array(values, kind)}
    if labels is not None:
        columns["label"] = pa.array(labels, label_type)
    table = pa.table(columns)
    if names is not None:
        features = {column: {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path


def pngs(n: int, size: int = 12) -> list[bytes]:
    return [encoded(picture(i, size, size)) for i in range(n)]


def idx(path, values):
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    write(path, header + values.astype(np.uint8).tobytes())


def write_mnist(root: Path) -> dict[str, np.ndarray]:
    """torchvision's MNIST in small below DARL_DATA_ROOT, and its images by split."""
    random = np.random.default_rng(0)
    truth = {"train": random.integers(0, 256, (6, 28, 28)), "t10k": random.integers(0, 256, (4, 28, 28))}
    for split, images in truth.items():
        idx(root / "MNIST" / "raw" / f"{split}-images-idx3-ubyte", images)
        idx(root / "MNIST" / "raw" / f"{split}-labels-idx1-ubyte", np.arange(len(images)))
    return truth


class HubImage:
    def __init__(self, decode=True):
        self.decode = decode


class HubClasses:
    names = ("cat", "dog")


class HubSplit(list):
    features = {"picture": HubImage(), "kind": HubClasses()}  # noqa: RUF012

    def __getitem__(self, key):
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    def cast_column(self, name, feature):
        assert (name, feature.decode) == ("picture", False)
        return self


def hub_of(load_dataset: Callable[[str], dict[str, HubSplit]]) -> SimpleNamespace:
    """What stands in for the package `datasets`."""
    return SimpleNamespace(Image=HubImage, ClassLabel=HubClasses, load_dataset=load_dataset)
