"""Every kind of picture becomes the right pixels."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as vision

from darl.data.decode import decode_many, decode_resized
from tests.data.example_images import channels_first, encoded, picture


def test_rgb_of_the_right_size_is_unchanged():
    np.testing.assert_array_equal(decode_resized(encoded(picture(0)), 12, 3), channels_first(picture(0)))


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_bilevel_and_palette(mode):
    image = picture(0, mode=mode)
    np.testing.assert_array_equal(decode_resized(encoded(image), 12, 3), channels_first(image.convert("RGB")))
    np.testing.assert_array_equal(decode_resized(encoded(image), 12, 1), channels_first(image.convert("L")))


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257, 1000], [32768, 65000, 65535], [128, 129, 386]], np.uint16)
    pixels = decode_resized(encoded(Image.fromarray(values)), 3, 1)[0]
    np.testing.assert_array_equal(pixels, np.rint(values / 257))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_over_white(mode):
    image = picture(0, mode=mode)
    alpha = np.arange(144, dtype=np.uint8).reshape(12, 12)
    image.putalpha(Image.fromarray(alpha))
    colour = channels_first(image.convert("RGBA").convert("RGB")).astype(float)
    expected = colour * (alpha / 255) + 255 * (1 - alpha / 255)
    np.testing.assert_allclose(decode_resized(encoded(image), 12, 3), expected, atol=1)


def test_transparent_colour_of_a_palette_is_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    pixels = decode_resized(encoded(image, transparency=0), 4, 3)
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 3, 3].tolist() == [10, 20, 30]


def test_transparent_colour_of_a_plain_png_is_white():
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    assert (decode_resized(encoded(image, transparency=(10, 20, 30)), 4, 3) == 255).all()


def test_cmyk_jpeg():
    pixels = decode_resized(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), 8, 3)
    np.testing.assert_allclose(pixels[:, 4, 4], [255, 0, 0], atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = picture(0, 12, 12)
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)  # PIL's Transpose numbers
    expected = image if turn is None else image.transpose(Image.Transpose(turn))
    np.testing.assert_array_equal(decode_resized(encoded(image, exif=exif), 12, 3), channels_first(expected))


@pytest.mark.parametrize(("width", "height"), [(40, 30), (30, 40), (64, 64), (16, 50)])
def test_resize_is_the_fields_resize_and_centre_crop(width, height):
    gradient = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[:, :, None] % 256 * np.ones(3)
    image = Image.fromarray(gradient.astype(np.uint8)).resize((width, height), reducing_gap=None)
    short = vision.resize(image, 20, interpolation=vision.InterpolationMode.BICUBIC)
    expected = channels_first(vision.center_crop(short, 20)).astype(float)
    if width == height:
        np.testing.assert_allclose(decode_resized(encoded(image), 20, 3), expected, atol=1)
    else:  # the field rounds the short side's ratio and the crop's corner to whole pixels
        assert np.abs(decode_resized(encoded(image), 20, 3) - expected).mean() < 5


def test_small_images_are_enlarged():
    assert decode_resized(encoded(picture(0, 5, 9)), 16, 3).shape == (3, 16, 16)


def test_reduced_jpeg_is_close_to_the_whole_one():
    smooth = picture(0, 6, 6).resize((600, 400), Image.Resampling.BICUBIC)
    jpeg = encoded(smooth, "JPEG", quality=95)
    whole = Image.open(io.BytesIO(jpeg)).resize((32, 32), Image.Resampling.BICUBIC, box=(100, 0, 500, 400))
    assert np.abs(decode_resized(jpeg, 32, 3) - channels_first(whole).astype(float)).mean() < 2


def test_bombs_and_unknown_ranges_are_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    failed = decode_many(
        lambda i: decode_resized(encoded(picture(i)), 12, 3), range(2), np.empty((2, 3, 12, 12), np.uint8), 1
    )
    assert set(failed) == {0, 1}
    assert "12 x 12 pixels are over PIL's limit of 100" in failed[0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ValueError, match="floating-point pixels have no known range"):
        decode_resized(encoded(Image.new("F", (8, 8)), "TIFF"), 8, 3)
    with pytest.raises(ValueError, match="32-bit pixels have no known range"):
        decode_resized(encoded(Image.new("I", (8, 8), 70000), "TIFF"), 8, 3)


def test_a_bomb_beyond_twice_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    failed = decode_many(
        lambda i: decode_resized(encoded(picture(i)), 12, 3), [0], np.empty((1, 3, 12, 12), np.uint8), 1
    )
    assert "DecompressionBombError" in failed[0]


@pytest.mark.parametrize("threads", [1, 4])
def test_many_are_decoded_in_place_and_broken_ones_named(threads, monkeypatch):
    monkeypatch.setattr("darl.data.decode.SLOW", 0.0)
    files = [encoded(picture(i)) for i in range(100)]
    files[7] = files[7][:60]
    files[70] = b"no image"
    out = np.zeros((100, 3, 12, 12), np.uint8)
    failed = decode_many(lambda i: decode_resized(files[i], 12, 3), range(100), out, threads)
    assert set(failed) == {7, 70}
    assert "UnidentifiedImageError" in failed[70]
    for i in (0, 50, 99):
        np.testing.assert_array_equal(out[i], channels_first(picture(i)))
    assert torch.from_numpy(out[7]).sum() == 0
