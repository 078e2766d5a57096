"""Random resized crop, flip and normalisation of a batch: ours at once, torchvision's image by image."""

from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision import transforms

from darl.data import Augment, Dataset, Images, batches

__all__ = ["our_batch", "torchvision_batch"]

SMALLEST_CROP = 0.2


def pixels(images: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (images, 3, size, size), dtype=np.uint8)


def our_batch(images: int, size: int) -> Callable[[], torch.Tensor]:
    """An epoch of one batch as training asks for it: the order, the draws and the gathering of pixels included."""
    split = Images(pixels(images, size), None)
    dataset = Dataset("random", split, split, None, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, ())
    augment, epochs = Augment(crop_min=SMALLEST_CROP, flip=True), count()

    def batch() -> torch.Tensor:
        epoch = batches(dataset, seed=0, epoch=next(epochs), batch_size=images, augment=augment, device="cpu")
        return next(epoch).images

    return batch


def torchvision_batch(images: int, size: int) -> Callable[[], torch.Tensor]:
    """From decoded PIL images: measured the fastest, with v2 on tensors, of torchvision's ways for small images."""
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in pixels(images, size)]
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, (SMALLEST_CROP, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ]
    )
    return lambda: torch.stack([transform(picture) for picture in pictures])
