"""One contract for every corruption, and each one's formula against an independent implementation of it.

The references are written from the authors' code (hendrycks/robustness, `make_cifar_c.py`, `make_imagenet_c.py`) with
the libraries that it uses where they are here: scipy (which skimage's Gaussian is), PIL, matplotlib's HSV.
"""

import io
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor

from darl.errors import UserError
from darl.evaluation.corruptions.base import SEVERITIES, Corruption
from darl.evaluation.corruptions.blur import GaussianBlur, MotionBlur
from darl.evaluation.corruptions.digital import Saturate
from darl.evaluation.corruptions.noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise

KINDS = list(Corruption.kinds().values())

SIZES = {"small": 32, "large": 224}


def images(size: int, count: int = 2, channels: int = 3) -> Tensor:
    """Images with the spectrum of photographs, amplitudes in inverse proportion to frequency, and a bright square."""
    white = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(size))
    white[:, 1:] = 0.7 * white[:, :1] + 0.3 * white[:, 1:]  # the channels of a photograph are alike
    frequency = torch.fft.fftfreq(size).square()[:, None] + torch.fft.rfftfreq(size).square()
    x = torch.fft.irfft2(torch.fft.rfft2(white) / frequency.sqrt().clamp(min=1 / size))
    x = 0.5 + 0.18 * x / x.std((2, 3), keepdim=True)
    x[:, :, size // 4 : size // 2, size // 4 : size // 2] += 0.2
    return (255 * x.clamp(0, 1)).round().to(torch.uint8)


def distance(corruption: Corruption, severity: int, pixels: Tensor) -> float:
    changed = corruption(pixels, severity, range(len(pixels)))
    return (changed.double() - pixels.double()).square().mean().item()


def test_the_list_is_what_can_be_made_of_imagenet_c() -> None:
    kinds = {kind.kind for kind in KINDS if kind.__module__.startswith("darl.")}
    assert len(kinds) == 13
    assert {"gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur", "zoom_blur", "brightness",
            "contrast", "pixelate", "jpeg"} < kinds  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        pytest.param(kind, channels, id=f"{kind.kind}-{channels}")
        for kind in KINDS
        for channels in (1, 3)
        if channels == 3 or not kind.colour  # grey images have no colours
    ],
)
def test_shape_and_range_stay_and_draws_depend_on_the_index_alone(kind: type[Corruption], channels: int) -> None:
    for size in (8, 32):
        pixels = images(size, count=3, channels=channels)
        before, state = pixels.clone(), torch.get_rng_state()
        changed = kind()(pixels, 5, [4, 5, 6])
        assert (changed.shape, changed.dtype) == (pixels.shape, torch.uint8)
        assert torch.equal(pixels, before)
        assert torch.equal(torch.get_rng_state(), state)
        torch.testing.assert_close(kind()(pixels[1:2], 5, [5]), changed[1:2], atol=1, rtol=0)


@pytest.mark.parametrize("size", [32, 112])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_severer_the_farther_from_the_image(kind: type[Corruption], size: int) -> None:
    distances = [distance(kind(), severity, images(size)) for severity in SEVERITIES]
    runs = [distances[:2], distances[2:]] if kind is Saturate else [distances]  # paler, then more vivid
    for run in runs:  # the third and the fourth blur by motion differ in tails that rounding hides
        assert all(after > 0.999 * before for before, after in pairwise(run)), distances
        assert run[0] < run[-1]
    assert min(distances) > 0


def test_severities_are_one_to_five() -> None:
    for severity in (0, 6):
        with pytest.raises(UserError, match=f"severity must be 1 to 5, got {severity}"):
            GaussianNoise()(images(32), severity, [0, 1])


def test_other_images_get_other_noise() -> None:
    pixels = images(32, count=1).expand(2, -1, -1, -1)
    first, second = GaussianNoise()(pixels, 3, [0, 1])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("size", SIZES.values())
def test_noise_has_the_moments_of_the_formulas(size: int) -> None:
    pixels = torch.full((6, 3, size, size), 128, dtype=torch.uint8)
    level = 128 / 255
    table = "small" if size == 32 else "large"
    for severity in (1, 2):  # those that nothing is cut off of
        spread = {
            GaussianNoise: getattr(GaussianNoise, table)[severity - 1],
            SpeckleNoise: level * getattr(SpeckleNoise, table)[severity - 1],
            ShotNoise: (level / getattr(ShotNoise, table)[severity - 1]) ** 0.5,
        }
        for kind, expected in spread.items():
            changed = kind()(pixels, severity, range(6)).double() / 255
            assert changed.mean().item() == pytest.approx(level, abs=0.01)
            assert changed.std().item() == pytest.approx(expected, rel=0.05)
        share = getattr(ImpulseNoise, table)[severity - 1]
        changed = ImpulseNoise()(pixels, severity, range(6))
        black, white = (int((changed == level).sum()) for level in (0, 255))
        assert stats.binomtest(black + white, changed.numel(), share).pvalue > 1e-4
        assert stats.binomtest(black, black + white, 0.5).pvalue > 1e-4


def reference_blur(x: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(x, (0, sigma, sigma), mode="nearest", truncate=4.0)


def reference_defocus(x: np.ndarray, strength: tuple[float, float]) -> np.ndarray:
    """`disk` and `filter2D`: OpenCV's reflect-101 edges are scipy's `mirror`."""
    radius, edge = strength
    numbers = np.arange(-max(8, radius), max(8, radius) + 1)
    disk = (numbers[:, None] ** 2 + numbers**2 <= radius**2).astype(float)
    reach = 1 if radius <= 8 else 2
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * edge**2))
    kernel = ndimage.convolve(disk / disk.sum(), np.outer(line, line) / line.sum() ** 2, mode="mirror")
    return np.stack([ndimage.correlate(channel, kernel, mode="mirror") for channel in x])


def reference_zoom(x: np.ndarray, strength: tuple[float, float]) -> np.ndarray:
    """The mean of the image and of its enlargements by `scipy.ndimage.zoom`."""
    size, total, factors = x.shape[1], x.copy(), np.arange(1, *strength)
    for factor in factors:
        kept = int(np.ceil(size / factor))
        top = (size - kept) // 2
        zoomed = ndimage.zoom(x[:, top : top + kept, top : top + kept], (1, factor, factor), order=1)
        trim = (zoomed.shape[1] - size) // 2
        total += zoomed[:, trim : trim + size, trim : trim + size]
    return total / (len(factors) + 1)


def reference_brightness(x: np.ndarray, strength: float) -> np.ndarray:
    hsv = rgb_to_hsv(x.transpose(1, 2, 0))
    hsv[..., 2] = np.clip(hsv[..., 2] + strength, 0, 1)
    return hsv_to_rgb(hsv).transpose(2, 0, 1)


def reference_saturate(x: np.ndarray, strength: tuple[float, float]) -> np.ndarray:
    hsv = rgb_to_hsv(x.transpose(1, 2, 0))
    hsv[..., 1] = np.clip(hsv[..., 1] * strength[0] + strength[1], 0, 1)
    return hsv_to_rgb(hsv).transpose(2, 0, 1)


def reference_contrast(x: np.ndarray, strength: float) -> np.ndarray:
    means = x.mean((1, 2), keepdims=True)
    return (x - means) * strength + means


def reference_pixelate(x: np.ndarray, strength: float) -> np.ndarray:
    image = Image.fromarray(np.uint8(np.rint(x * 255)).transpose(1, 2, 0))
    size, box = image.width, Image.Resampling.BOX
    fewer = int(size * strength)
    return np.asarray(image.resize((fewer, fewer), box).resize((size, size), box)).transpose(2, 0, 1) / 255


def reference_jpeg(x: np.ndarray, strength: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(x * 255)).transpose(1, 2, 0)).save(buffer, "JPEG", quality=strength)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1) / 255


REFERENCES = {
    "gaussian_blur": reference_blur, "defocus_blur": reference_defocus, "zoom_blur": reference_zoom,
    "brightness": reference_brightness, "saturate": reference_saturate, "contrast": reference_contrast,
    "pixelate": reference_pixelate, "jpeg": reference_jpeg,
}  # fmt: skip


@pytest.mark.parametrize("table", SIZES)
@pytest.mark.parametrize("name", REFERENCES)
def test_a_corruption_is_that_of_the_authors(name: str, table: str) -> None:
    """To one level: both round. JPEG's decoders may differ by a little more."""
    kind = Corruption.kinds()[name]
    pixels = images(SIZES[table], count=1)
    for severity in SEVERITIES:
        expected = REFERENCES[name](pixels[0].double().numpy() / 255, getattr(kind, table)[severity - 1])
        changed = kind()(pixels, severity, [0])[0].double().numpy()
        off = np.abs(changed - 255 * np.clip(expected, 0, 1))
        assert off.max() <= (3 if name == "jpeg" else 1.001), (severity, off.max())


def test_movement_is_along_one_direction_and_one_sided() -> None:
    """ImageMagick's weights: a point becomes a line of steps from it, in the direction that the image draws."""
    pixels = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    pixels[0, 0, 16, 24] = 255
    radius, sigma = MotionBlur.small[2]
    corruption = MotionBlur()
    changed = corruption(pixels, 3, [7])[0, 0].double()
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    angle = math.radians(90 * float(corruption.draw([7], lambda source: torch.rand((), generator=source))) - 45)
    expected = np.zeros((32, 32))
    for step, weight in enumerate(weights / weights.sum()):
        row = 16 - math.ceil(step * math.sin(angle) - 0.5)
        expected[row, 24 - math.ceil(step * math.cos(angle) - 0.5)] += 255 * weight
    assert np.abs(changed.numpy() - expected).max() <= 0.5
    assert (expected > 1).sum() > 3


def test_lengths_scale_with_the_image() -> None:
    """Blur of an image twice as large is the same blur: seen at half the size, the images are alike."""
    large = images(448, count=1)
    half = torch.nn.functional.avg_pool2d(large.float(), 2).round().to(torch.uint8)
    blurred = GaussianBlur()(large, 4, [0]).float()
    seen, expected = torch.nn.functional.avg_pool2d(blurred, 2), GaussianBlur()(half, 4, [0]).float()
    torch.testing.assert_close(seen[..., 16:-16, 16:-16], expected[..., 16:-16, 16:-16], atol=2, rtol=0)
