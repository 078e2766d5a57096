"""The augmentation of fine-tuning, from timm's parts: RandAugment, random erasing, Mixup and CutMix.

timm draws from the global generators of Python, NumPy and torch. Here these are seeded for each row of the global
batch, so that a row's draws depend only on (seed, step, row), and are put back as they were. Mixup and CutMix mix two
images at a time, rows 2k and 2k + 1: such a pair is on one worker, whatever their number. That is timm's `mode="pair"`
with neighbours as pairs instead of the first and the last row; MAE draws one mixture for a whole batch.

RandAugment works on PIL images, one at a time, between the random crop and the normalisation; pixels are rounded to 8
bits there. With erasing it takes 0.7 ms an image of 32 pixels on one core, and 5 ms at 224 (means of 192 images).
"""

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.data import Mixup
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from darl.data import Dataset, normalize
from darl.finetuning import Finetuning
from darl.randomness import seed_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

__all__ = ["StrongAugmentation", "seeded_globals"]


@contextmanager
def seeded_globals() -> Generator[Callable[..., None]]:
    """Within, the yielded function seeds the global CPU generators by what the draw is for; then they are put back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002

    def reseed(*purpose: int | str) -> None:
        seed = seed_of(*purpose)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  (timm draws from it)
        torch.default_generator.manual_seed(seed)

    try:
        yield reseed
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


class StrongAugmentation:
    """Augments the training images and labels of a fine-tuning, after crops and flips.

    Args:
        config: the strengths.
        dataset: its pixel statistics and its image size.
        classes: number of classes.

    """

    def __init__(self, config: Finetuning, dataset: Dataset, classes: int):
        self.config, self.mean, self.std, self.classes = config, dataset.mean, dataset.std, classes
        self.erase = RandomErasing(config.erasing, mode="pixel", max_count=1, device="cpu") if config.erasing else None
        self.mix = None
        if config.mixes:
            self.mix = Mixup(config.mixup, config.cutmix, label_smoothing=config.smoothing, num_classes=classes)
        self._transforms: dict[int, Any] = {}

    def images(
        self, images: "Float[Tensor, 'rows channels height width']", first: int, *purpose: int | str
    ) -> "Float[Tensor, 'rows channels height width']":
        """RandAugment, then erasing, of each image alone. first: the images' first row in the global batch."""
        if not (self.config.rand_augment or self.erase):
            return images
        changed = images.cpu()
        with seeded_globals() as reseed:
            if self.config.rand_augment:
                changed = self._rand_augmented(changed, first, reseed, *purpose)
            for row in range(len(changed) if self.erase else 0):
                reseed(*purpose, "erase", first + row)
                self.erase(changed[row])  # pyright: ignore[reportOptionalCall]
        return changed.to(images.device)

    def mixed(
        self,
        images: "Float[Tensor, 'rows channels height width']",
        labels: "Int64[Tensor, ' rows']",
        first: int,
        *purpose: int | str,
    ) -> "tuple[Float[Tensor, 'rows channels height width'], Float[Tensor, 'rows classes']]":
        """The images mixed in pairs, and the smoothed and mixed targets, which sum to 1.

        An even number of images, of which `first`, the first one's row in the global batch, is even, too.
        """
        assert self.mix is not None
        images, targets = images.clone(), list[Tensor]()
        with seeded_globals() as reseed:
            for row in range(0, len(images), 2):
                reseed(*purpose, "mix", first + row)
                targets.append(self.mix(images[row : row + 2], labels[row : row + 2])[1])  # images are mixed in place
        return images, torch.cat(targets)

    def _rand_augmented(
        self, images: Tensor, first: int, reseed: Callable[..., None], *purpose: int | str
    ) -> "Float[Tensor, 'rows channels height width']":
        mean, std = (images.new_tensor(value)[:, None, None] for value in (self.mean, self.std))
        pixels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        changed = torch.empty_like(pixels)
        for row, image in enumerate(pixels):
            reseed(*purpose, "augment", first + row)
            changed[row] = pil_to_tensor(self._transform(images.shape[-1])(to_pil_image(image)))
        return normalize(changed, self.mean, self.std)

    def _transform(self, size: int) -> Any:
        """timm's transform, with the arguments that its own training gives it."""
        if size not in self._transforms:
            grey = tuple(min(255, round(255 * value)) for value in self.mean)
            fill = grey[0] if len(grey) == 1 else grey
            # at magnitude 10 timm posterises to 0 bits, which Pillow refuses
            hparams: Any = {"translate_const": int(size * 0.45), "img_mean": fill, "magnitude_max": 9.99}
            self._transforms[size] = rand_augment_transform(self.config.rand_augment, hparams)
        return self._transforms[size]
