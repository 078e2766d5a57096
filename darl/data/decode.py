"""Encoded image → uint8 pixels of one size and number of channels.

Every picture ends as grey (L) or RGB. What is done on the way: EXIF orientation is applied; alpha (also a palette's or
PNG's transparent colour) is composited over white, where dropping it, as most loaders do, would bring out the
arbitrary colours that transparent pixels hide; 16-bit grey is scaled to 8 bits, where PIL would clip it; palettes,
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

from darl.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import UInt8

__all__ = ["GREY", "Encoded", "decode_many", "fit", "open_image", "quiet", "to_pixels", "upright"]

Encoded = bytes | Image.Image
"""An image as a source stores it: a file's bytes, or what another package has decoded already."""

GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
"""PIL's modes of grey images."""

CHUNK = 16  # images a task of the thread pool

SLOW = 5e-4  # seconds an image from which on threads pay

ORIENTATION = 0x0112  # EXIF's tag


@contextmanager
def quiet() -> Iterator[None]:
    """Keep PIL's remarks on odd files to itself: a file that cannot be used is reported by path."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def open_image(encoded: Encoded) -> Image.Image:
    """The image, its pixels not yet decoded; raises whatever PIL raises, and ValueError for too many pixels."""
    image = Image.open(io.BytesIO(encoded)) if isinstance(encoded, bytes) else encoded
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ValueError(f"{image.width} x {image.height} pixels are over PIL's limit of {limit}")
    return image


def upright(image: Image.Image, channels: int) -> Image.Image:
    """The whole image as its camera was held, in mode L (1 channel) or RGB (3 channels)."""
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
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit pixels have no known range")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def to_pixels(image: Image.Image) -> UInt8[np.ndarray, "channels height width"]:
    """Pixels of an L or RGB image, channels first."""
    # a third of np.asarray's time on small images
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)
    return pixels.transpose(2, 0, 1)


def fit(encoded: Encoded, image_size: int, channels: int) -> UInt8[np.ndarray, "channels height width"]:
    """Short side resized to `image_size`, centre cut out; raises what the broken file makes PIL raise."""
    image = open_image(encoded)
    # JPEG can be decoded at a fraction of its size; a factor of two over the wanted size keeps the resampling fair
    image.draft(None, (2 * image_size, 2 * image_size))
    image = upright(image, channels)
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
    """Fill `out` with `decode(index)` of every index; the reasons of those that failed.

    A pool of threads takes over if the first images are slow to decode or, as a slow network's, to read. Small ones
    are quick, and then threads spend more time on waiting for Python's lock than they save.
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
                failed[index] = " ".join(f"{type(error).__name__}: {error}".split())
        return failed

    starts = range(0, len(indices), CHUNK)
    with quiet():
        # the first chunk also opens files and loads PIL's plug-ins: the second tells
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
