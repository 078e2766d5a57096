"""Encoded image → uint8 pixels of one size and number of channels.

Every image becomes grey (mode L) or RGB. On the way: EXIF orientation is applied; alpha (also a palette's or
PNG's transparent colour) is composited over white, where dropping it, as most loaders do, would show the
arbitrary colours of transparent pixels; 16-bit grey is scaled to 8 bits, where PIL would clip it; palettes,
bilevel and CMYK go through PIL's conversion. Then the short side is resized to the wanted size (bicubic, antialiased)
and the centre is cut out, in one pass.
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from darl.errors import UserError, one_line

if TYPE_CHECKING:
    from jaxtyping import UInt8

__all__ = ["GREY", "Encoded", "decode_many", "decode_resized", "open_image", "orient", "silence_pil", "to_pixels"]

Encoded = bytes | Image.Image
"""An image as a source stores it: a file's bytes, or an image that another library has decoded."""

GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
"""PIL's modes of grey images."""

CHUNK = 16  # images per task of the thread pool

SLOW = 5e-4  # seconds per image above which threads are faster

ORIENTATION = 0x0112  # EXIF's tag


@contextmanager
def silence_pil() -> Iterator[None]:
    """Within, PIL's warnings about odd files are off: files that cannot be used are reported by path."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def open_image(encoded: Encoded) -> Image.Image:
    """The image, its pixels not yet decoded; raises what PIL raises, and ValueError for too many pixels."""
    image = Image.open(io.BytesIO(encoded)) if isinstance(encoded, bytes) else encoded
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ValueError(f"{image.width} x {image.height} pixels are over PIL's limit of {limit}")
    return image


def orient(image: Image.Image, channels: int) -> Image.Image:
    """The whole image, EXIF orientation applied, in mode L (1 channel) or RGB (3 channels)."""
    image.load()
    if image.info and image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey image scaled to 8 bits; raises ValueError for values outside 16 bits."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit pixels have no known range")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def to_pixels(image: Image.Image) -> UInt8[np.ndarray, "channels height width"]:
    """Pixels of an L or RGB image, channels first."""
    # a third of np.asarray's time on small images
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)
    return pixels.transpose(2, 0, 1)


def decode_resized(encoded: Encoded, image_size: int, channels: int) -> UInt8[np.ndarray, "channels height width"]:
    """Pixels with the short side resized to `image_size`, and the centre cropped; raises what PIL raises."""
    image = open_image(encoded)
    # JPEG can be decoded at a fraction of its size; twice the wanted size leaves enough detail for resampling
    image.draft(None, (2 * image_size, 2 * image_size))
    image = orient(image, channels)
    if image.size != (image_size, image_size):
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        image = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
    return to_pixels(image)


def decode_many(
    decode: Callable[[int], np.ndarray],
    indices: Sequence[int],
    out: UInt8[np.ndarray, "images channels height width"],
    threads: int,
) -> dict[int, str]:
    """Fill `out` with `decode(index)` for every index; returns the reason for each index that failed.

    A pool of threads is used if the first images are slow to decode or to read. For small, fast images threads would
    wait longer for Python's lock than they save.
    """

    def decode_chunk(start: int) -> dict[int, str]:
        failed = {}
        for row in range(start, min(start + CHUNK, len(indices))):
            index = int(indices[row])
            try:
                out[row] = decode(index)
            except UserError:  # the storage, not the image
                raise
            except Exception as error:  # PIL's plug-ins raise anything on a broken file: it is skipped and reported
                failed[index] = one_line(error)
        return failed

    starts = range(0, len(indices), CHUNK)
    with silence_pil():
        # time the second chunk, since the first one also opens files and loads PIL's plug-ins
        parts = [decode_chunk(start) for start in starts[:1]]
        began = time.perf_counter()
        parts += [decode_chunk(start) for start in starts[1:2]]
        slow = time.perf_counter() - began > SLOW * CHUNK
        if threads > 1 and slow:
            with ThreadPoolExecutor(threads) as pool:
                parts += pool.map(decode_chunk, starts[2:])
        else:
            parts += map(decode_chunk, starts[2:])
    return {index: reason for part in parts for index, reason in part.items()}
