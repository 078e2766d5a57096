"""The 19 tasks of VTAB-1k: what they are, where each is found, and how it is split.

The Visual Task Adaptation Benchmark (Zhai et al. 2019, arXiv 1910.04867) fits a model to 1,000 images of a task and
tests it on the whole test split. Groups, classes, splits and labels follow its code (google-research/task_adaptation,
`data/*.py`). The images of a source that is not VTAB-1k's own are drawn here, always the same: 800 of its training and
200 of its validation images, or of the rest of training. They are not the paper's, which are the first of TFDS's order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image

from darl.data.dataset import Dataset, load_splits
from darl.data.locate import open_splits
from darl.data.sources.base import Source, Splits, Subset
from darl.data.torchvision_tasks import TorchvisionTask, clevr_count, clevr_distance, kitti_distance, open_torchvision
from darl.errors import UserError
from darl.randomness import generator
from darl.variants import require

if TYPE_CHECKING:
    from darl.data.decode import Encoded

__all__ = ["GROUPS", "TASKS", "Task", "load_task", "tasks_named"]

TRAIN, VALIDATION = 800, 200
"""Training images of a task, of which the second number come from its validation split."""

TEST_SHARE = 5
"""One image in five is a test image where the source has no test split."""

Group = Literal["natural", "specialised", "structured"]

GROUPS: tuple[Group, ...] = ("natural", "specialised", "structured")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of the benchmark."""

    name: str
    """What follows `vtab:` in a name of data, and the name of its folder in `$DARL_DATA_ROOT/vtab`."""
    group: Group
    classes: int
    torchvision: TorchvisionTask | None = None
    """How torchvision has it; None where it does not."""
    hub: str = ""
    """Its name on Hugging Face's Hub, as far as known."""

    @property
    def folder(self) -> Path:
        """The folder of a local copy: Parquet files, image folders or tar shards named train, val and test."""
        return _root() / "vtab" / self.name


_HUB = "clip-benchmark/wds_vtab-"

TASKS: tuple[Task, ...] = (
    Task(name="caltech101", group="natural", classes=102, torchvision=TorchvisionTask("Caltech101"),
         hub=f"{_HUB}caltech101"),
    Task(name="cifar100", group="natural", classes=100, torchvision=TorchvisionTask("CIFAR100", test="test"),
         hub=f"{_HUB}cifar100"),
    Task(name="dtd", group="natural", classes=47, torchvision=TorchvisionTask("DTD", validation="val", test="test"),
         hub=f"{_HUB}dtd"),
    Task(name="flowers102", group="natural", classes=102,
         torchvision=TorchvisionTask("Flowers102", validation="val", test="test"), hub=f"{_HUB}flowers"),
    Task(name="pets", group="natural", classes=37,
         torchvision=TorchvisionTask("OxfordIIITPet", "trainval", test="test"), hub=f"{_HUB}pets"),
    Task(name="sun397", group="natural", classes=397, torchvision=TorchvisionTask("SUN397"),
         hub="clip-benchmark/wds_sun397"),
    Task(name="svhn", group="natural", classes=10, torchvision=TorchvisionTask("SVHN", test="test"),
         hub=f"{_HUB}svhn"),
    Task(name="patch_camelyon", group="specialised", classes=2,
         torchvision=TorchvisionTask("PCAM", validation="val", test="test"), hub=f"{_HUB}pcam"),
    Task(name="eurosat", group="specialised", classes=10, torchvision=TorchvisionTask("EuroSAT"),
         hub=f"{_HUB}eurosat"),
    Task(name="resisc45", group="specialised", classes=45, hub=f"{_HUB}resisc45"),
    Task(name="diabetic_retinopathy", group="specialised", classes=5, hub=f"{_HUB}diabetic_retinopathy"),
    Task(name="clevr_count", group="structured", classes=8,
         torchvision=TorchvisionTask("CLEVRClassification", test="val", label=clevr_count),
         hub=f"{_HUB}clevr_count_all"),
    Task(name="clevr_distance", group="structured", classes=6,
         torchvision=TorchvisionTask("CLEVRClassification", test="val", label=clevr_distance),
         hub=f"{_HUB}clevr_closest_object_distance"),
    Task(name="dmlab", group="structured", classes=6, hub=f"{_HUB}dmlab"),
    Task(name="kitti_distance", group="structured", classes=4,
         torchvision=TorchvisionTask("Kitti", label=kitti_distance), hub=f"{_HUB}kitti_closest_vehicle_distance"),
    Task(name="dsprites_location", group="structured", classes=16),
    Task(name="dsprites_orientation", group="structured", classes=16),
    Task(name="smallnorb_azimuth", group="structured", classes=18, hub=f"{_HUB}smallnorb_label_azimuth"),
    Task(name="smallnorb_elevation", group="structured", classes=9, hub=f"{_HUB}smallnorb_label_elevation"),
)  # fmt: skip
"""All tasks, by group. The first 7 are natural images, the next 4 specialised, the last 8 structured."""


def tasks_named(name: str) -> list[Task]:
    """All tasks for `vtab`, one for `vtab:NAME`; raises UserError for another name."""
    by_name = {task.name: task for task in TASKS}
    wanted = name.partition(":")[2]
    require(not wanted or wanted in by_name, "data", f"be vtab or vtab: and one of {', '.join(by_name)}", name)
    return [by_name[wanted]] if wanted else list(TASKS)


def load_task(
    task: Task, *, image_size: int, channels: int, memory_limit: int = 4 * 2**30, loader_workers: int = 0
) -> tuple[Dataset, str | None]:
    """A task's 1,000 training images, with its test split in validation's place, and a note on how these were drawn.

    Whole images are resized to a square, as VTAB does, and nothing is cut off. `Dataset.split` is `test`: whoever fits
    to this data set must choose on its training images. Raises UserError where the task is in none of its places.
    """
    splits, notes = _with_test(task, _open(task))
    train, drawn = _thousand(task, splits)
    assert splits.test is not None
    squared = (Squared(source, image_size, channels) for source in (train, splits.test))
    dataset = load_splits(
        f"vtab:{task.name}", Splits(*squared, classes=splits.classes), image_size=image_size, channels=channels,
        memory_limit=memory_limit, loader_workers=loader_workers,
    )  # fmt: skip
    return replace(dataset, split="test"), "; ".join([*drawn, *notes, *_check_classes(task, dataset)]) or None


def _root() -> Path:
    return Path(os.environ.get("DARL_DATA_ROOT", "~/.cache/darl")).expanduser()


def _open(task: Task) -> Splits:
    """The task's splits from the first of its places that has it. Raises UserError, naming why each has not."""
    if task.folder.is_dir():
        return open_splits(str(task.folder))
    places: list[tuple[str, Callable[[], Splits]]] = []
    if task.torchvision is not None:
        places.append((f"torchvision's {task.torchvision.name}", partial(open_torchvision, task.torchvision, _root())))
    if task.hub:
        places.append((f"hub:{task.hub}", partial(_open_hub, task.hub)))
    failures = [f"{task.folder} is no folder"]
    for place, opened in places:
        try:
            return opened()
        except UserError as error:
            failures.append(f"{place} {error.message}")
    remedy = "put a copy with train, val and test into that folder"
    raise UserError(f"must be found, got 'vtab:{task.name}' ({'; '.join(failures)}): {remedy}", field="data")


def _open_hub(name: str) -> Splits:
    splits = open_splits(f"hub:{name}")
    require(splits.test is not None, "data", "have a test split on the Hub beside train", name)
    return splits


def _with_test(task: Task, splits: Splits) -> tuple[Splits, list[str]]:
    """Splits that have a test split: a drawn fifth of training where the source has none."""
    if splits.test is not None:
        return splits, []
    order = _order(task, "test", len(splits.train))
    cut = len(order) // TEST_SHARE
    train, test = Subset(splits.train, order[cut:]), Subset(splits.train, order[:cut])
    return replace(splits, train=train, test=test), ["tested on a drawn fifth: the source has no test split"]


def _thousand(task: Task, splits: Splits) -> tuple[Source, list[str]]:
    """The training images, and what is to be said of them. A train split of 1,000 is VTAB-1k's: 200 of it are val."""
    if len(splits.train) == TRAIN + VALIDATION:
        return splits.train, []
    parts = [splits.train] if splits.validation is None else [splits.train, splits.validation]
    every = sum(map(len, parts))
    if every <= TRAIN + VALIDATION:
        return Joined(parts), [] if every == TRAIN + VALIDATION else [f"{every:,} training images, all there are"]
    second = min(VALIDATION, len(splits.validation or ()))
    counts = [min(TRAIN + VALIDATION - second, len(splits.train)), second]
    chosen: list[Source] = [Subset(part, _order(task, name, len(part))[:count])
              for name, part, count in zip(("train", "validation"), parts, counts, strict=False)]  # fmt: skip
    return Joined(chosen), [f"{sum(map(len, chosen)):,} training images drawn, not the paper's"]


def _order(task: Task, purpose: str, images: int) -> np.ndarray:
    return torch.randperm(images, generator=generator("vtab", task.name, purpose)).numpy()


def _check_classes(task: Task, dataset: Dataset) -> list[str]:
    """What is to be said of the classes; raises UserError where there are none or more than the task has."""
    labels = [each.labels for each in (dataset.train, dataset.validation)]
    known = [each for each in labels if each is not None]
    require(len(known) == len(labels), "data", "have labels in train and test", f"vtab:{task.name}")
    found = len(np.unique(np.concatenate(known)))
    remedy = f"have the task's {task.classes} classes"
    require(found <= task.classes, "data", remedy, f"vtab:{task.name} with {found}")
    return [f"{found} of its {task.classes} classes occur"] if found < task.classes else []


class Joined(Source):
    """Sources one after another."""

    def __init__(self, parts: list[Source]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.remote = any(part.remote for part in parts)
        each = [part.labels for part in parts]
        if all(labels is not None for labels in each):
            self.labels = [label for labels in each for label in labels or ()]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _at(self, index: int) -> tuple[Source, int]:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part], index - int(self._starts[part])

    def read(self, index: int) -> Encoded:
        """The encoded image."""
        source, own = self._at(index)
        return source.read(own)

    def name(self, index: int) -> str:
        """The image's name in its part."""
        source, own = self._at(index)
        return source.name(own)


class Squared(Source):
    """The images of a source resized to a square, whatever their proportions, in 1 or 3 channels."""

    def __init__(self, source: Source, image_size: int, channels: int) -> None:
        self._source = source
        self._size, self._channels = image_size, channels
        self.labels = None if source.labels is None else list(source.labels)
        self.groups, self.remote = source.groups, source.remote

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> Encoded:
        """The image, bicubic and antialiased."""
        from darl.data.decode import open_image, orient

        image = orient(open_image(self._source.read(index)), self._channels)
        return image.resize((self._size, self._size), Image.Resampling.BICUBIC)

    def name(self, index: int) -> str:
        """The image's name in its source."""
        return self._source.name(index)
