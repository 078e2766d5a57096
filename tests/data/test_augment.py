"""Whole-batch augmentation does what the field's per-image transforms do."""

import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as vision

from darl.data import Augment, augment_batch, crop_boxes, normalize
from darl.data.augment import draw, draw_shifts
from darl.errors import UserError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def slow_augment(pixels, boxes, flips, mean, std):
    """One image after another, by torchvision."""
    done = []
    for row, image in enumerate(pixels):
        image = image.float() / 255
        if boxes is not None:
            image = vision.resized_crop(image, *boxes[row].tolist(), list(image.shape[1:]), antialias=True)
        if flips is not None and flips[row]:
            image = vision.hflip(image)
        done.append(vision.normalize(image, mean, std))
    return torch.stack(done)


def batch(n=70, size=32, channels=3):
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=torch.manual_seed(0))


def boxes_of(n, height, width, crop_min=0.2):
    uniform, _ = draw(range(n), 0, "augment", 0, 0)
    return crop_boxes(uniform, torch.full((n,), height), torch.full((n,), width), crop_min)


@pytest.mark.parametrize("size", [8, 32, 45])
@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("flip", [True, False])
def test_matches_the_slow_reference(size, crop, flip):
    pixels = batch(size=size)
    boxes = boxes_of(len(pixels), size, size) if crop else None
    flips = draw(range(len(pixels)), 0, "augment", 0, 0)[1] if flip else None
    fast = augment_batch(pixels, boxes, flips, MEAN, STD)
    torch.testing.assert_close(fast, slow_augment(pixels, boxes, flips, MEAN, STD), atol=2e-4, rtol=1e-4)


def test_whole_image_as_a_box_changes_nothing():
    pixels = batch()
    boxes = torch.tensor([[0, 0, 32, 32]]).expand(len(pixels), 4)
    torch.testing.assert_close(augment_batch(pixels, boxes, None, MEAN, STD), normalize(pixels, MEAN, STD))


def test_normalize():
    pixels = batch()
    torch.testing.assert_close(normalize(pixels, MEAN, STD), slow_augment(pixels, None, None, MEAN, STD))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (300, 200), (20, 400), (400, 20), (1, 1)])
@pytest.mark.parametrize("crop_min", [0.05, 0.2, 0.9])
def test_boxes_lie_in_the_image(height, width, crop_min):
    top, left, h, w = boxes_of(500, height, width, crop_min).unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (h >= 1).all()
    assert (w >= 1).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 48), (100, 30)])
def test_boxes_are_distributed_as_torchvisions(height, width):
    n = 4000
    torch.manual_seed(0)
    image = torch.zeros(1, height, width)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(n)]).float()
    ours = boxes_of(n, height, width).float()
    error = (theirs.var(0) / n + ours.var(0) / n).sqrt()
    assert ((theirs.mean(0) - ours.mean(0)).abs() <= 4 * error + 1e-6).all()
    torch.testing.assert_close(theirs.std(0), ours.std(0), rtol=0.08, atol=0.05)


def test_extreme_shapes_take_the_centre_as_torchvision_does():
    assert boxes_of(3, 400, 20, crop_min=0.9).tolist() == [[186, 0, 27, 20]] * 3


def test_half_are_flipped():
    _, flips = draw(range(4096), 0, "augment", 0, 0)
    assert 0.46 < flips.float().mean() < 0.54


def test_rows_draw_the_same_alone():
    uniform, flips = draw(range(96), 3, "augment", 1, 2)
    for rows in (range(0, 32), range(40, 41), range(31, 96)):
        part, part_flips = draw(rows, 3, "augment", 1, 2)
        assert torch.equal(part, uniform[rows.start : rows.stop])
        assert torch.equal(part_flips, flips[rows.start : rows.stop])


@pytest.mark.parametrize("crop_min", [0.0, -0.1, 1.01, float("nan")])
def test_crop_min_is_checked(crop_min):
    with pytest.raises(UserError, match=r"^augment\.crop_min must lie in \(0, 1\], got"):
        Augment(crop_min=crop_min)


@pytest.mark.parametrize("size", [8, 32])
def test_shifts_match_torchvisions_padded_crop(size):
    pixels, shifts = batch(size=size), draw_shifts(range(70), 3, 0, "augment", 0, 0)
    moved = augment_batch(pixels, None, None, MEAN, STD, shifts=shifts)
    cut = [
        vision.crop(vision.pad(image, 3), 3 - down, 3 - right, size, size)
        for image, (down, right) in zip(pixels, shifts.tolist(), strict=True)
    ]
    torch.testing.assert_close(moved, slow_augment(torch.stack(cut), None, None, MEAN, STD))


def test_shifts_are_uniform_and_rows_draw_the_same_alone():
    shifts = draw_shifts(range(4000), 1, 3, "augment", 1, 2)
    counts = torch.bincount((3 * (shifts[:, 0] + 1) + shifts[:, 1] + 1), minlength=9)
    assert len(counts) == 9
    assert (counts / 4000 - 1 / 9).abs().max() < 0.02
    assert torch.equal(draw_shifts(range(40, 50), 1, 3, "augment", 1, 2), shifts[40:50])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": 0}, r"^augment\.shift must be at least 1, or none, got 0"),
        ({"shift": 2, "crop_min": 0.5}, r"^augment\.shift must be none where augment\.crop_min 0\.5 crops, got 2"),
    ],
)
def test_shift_is_checked(settings, message):
    with pytest.raises(UserError, match=message):
        Augment(**settings)
