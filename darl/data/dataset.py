"""Load a data set: its splits, its classes and the statistics of its training pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from darl.data.content import DataContent, hash_parts
from darl.data.found import SHOWN, Decision
from darl.data.locate import locate, open_splits
from darl.data.sampled import no_readable_image, sampled
from darl.data.shuffle import epoch_order
from darl.data.sources.base import Source, Splits, checked_labels, hold_out, number_labels, require_known_classes
from darl.data.splits import REMOTE_THREADS, Images, Stream
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Int64

__all__ = ["Dataset", "OpenedData", "content_of", "load", "load_opened", "load_splits", "open_data"]

VALIDATION, HELD_OUT = "validation", "held out of train"

SAMPLE = 1024  # number of images of a stream from which its statistics are computed

LEVELS = 256


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set's training and validation split, its classes, pixel statistics and content."""

    name: str
    train: Images | Stream
    validation: Images | Stream
    classes: tuple[str, ...] | None
    mean: tuple[float, ...]
    """Per channel, over the training pixels scaled to [0, 1]: all in memory, or those of 1,024 images of a stream."""
    std: tuple[float, ...]
    skipped: tuple[str, ...]
    """Broken images found while loading, as `path: reason` or `file#row: reason`."""
    content: DataContent | None = None
    """Image counts and fingerprint; None for a data set that was not read by `load`."""
    split: str = VALIDATION
    """What `validation` holds, the images that decide: `validation`, the data's own split, or `held out of train`."""
    test: Images | Stream | None = None
    """The test split of data that has no validation split, for final figures only: see `deciding`."""
    found: tuple[Decision, ...] = ()
    """How splits, labels, channels and size were decided, and what was left out."""

    @property
    def deciding(self) -> Dataset:
        """The data set without its test split, the same object each time: what choices may be made on."""
        return self if self.test is None else self._deciding

    @cached_property
    def _deciding(self) -> Dataset:
        return replace(self, test=None)

    @property
    def class_count(self) -> int:
        """Number of classes: one more than the highest label of both splits. Raises UserError without labels."""
        labels = [split.labels for split in (self.train, self.validation)]
        known = [int(each.max()) for each in labels if each is not None]
        require(len(known) == len(labels), "data", "have labels in both splits", self.name)
        return 1 + max(known)


@dataclass(frozen=True, eq=False)
class OpenedData:
    """The splits of a data set, before any image is decoded."""

    sources: Mapping[str, Source]
    """By `train`, `validation` and, where there is one, `test`."""
    labels: Mapping[str, Int64[np.ndarray, " images"] | None]
    """Class numbers of each of them."""
    classes: tuple[str, ...] | None
    content: DataContent
    split: str
    """See `Dataset.split`."""
    found: tuple[Decision, ...] = ()
    """How splits and labels were decided, and what was left out."""

    def looked_at(self, name: str, *, image_size: int, channels: int) -> OpenedData:
        """The same; `found` also has how images of the sizes that there are will be read. Raises UserError."""
        require(channels in (1, 3), "channels", "be 1 or 3", channels)
        require(image_size >= 1, "image_size", "be at least 1", image_size)
        seen = sampled(name, self.sources["train"]).decision(image_size, channels)
        return replace(self, found=(*self.found, seen))


def load(
    data: str, *, image_size: int, channels: int, memory_limit: int = 4 * 2**30, loader_workers: int = 0
) -> Dataset:
    """The splits of `data`, at `image_size` and in 1 (grey) or 3 (RGB) channels.

    Validation is the data's own validation split, else a held-out fifth of the training images. A test split is read
    in the second case only. A split is decoded into memory if it fits there within `memory_limit` bytes (training
    first, test last), else it is a `Stream`, decoded by `loader_workers` processes as it is used. Raises UserError.
    """
    name = locate(data)
    opened = open_data(name).looked_at(name, image_size=image_size, channels=channels)
    return load_opened(
        name, opened, image_size=image_size, channels=channels, memory_limit=memory_limit, loader_workers=loader_workers
    )


def load_splits(
    name: str, splits: Splits, *, image_size: int, channels: int, memory_limit: int, loader_workers: int
) -> Dataset:
    """As `load`, of splits that are open already."""
    return load_opened(
        name, number_splits(name, splits), image_size=image_size, channels=channels, memory_limit=memory_limit,
        loader_workers=loader_workers,
    )  # fmt: skip


def load_opened(
    name: str, opened: OpenedData, *, image_size: int, channels: int, memory_limit: int, loader_workers: int
) -> Dataset:
    """As `load`, of data that is open already. name: its canonical name."""
    skipped: dict[str, str] = {}
    loaded: dict[str, Images | Stream] = {}
    for split, source in opened.sources.items():
        labels = opened.labels[split]
        size = len(source) * channels * image_size**2
        if size <= memory_limit:
            memory_limit -= size
            loaded[split] = _decode(name, source, labels, image_size, channels, skipped)
        else:
            loaded[split] = Stream(
                source, labels, image_size=image_size, channels=channels, loader_workers=loader_workers
            )
    mean, std = _statistics(loaded["train"], skipped)
    return Dataset(
        name,
        loaded["train"],
        loaded["validation"],
        opened.classes,
        mean,
        std,
        skipped=tuple(f"{path}: {reason}" for path, reason in skipped.items()),
        content=opened.content,
        split=opened.split,
        test=loaded.get("test"),
        found=opened.found,
    )


def content_of(data: str) -> DataContent:
    """The content of `data`, taken without decoding an image. Raises UserError."""
    return open_data(locate(data)).content


def open_data(name: str) -> OpenedData:
    """Splits and numbered labels of a located data set: see `number_splits`."""
    return number_splits(name, open_splits(name))


def number_splits(name: str, splits: Splits) -> OpenedData:
    """Splits with numbered labels; a fifth of train is held out where no validation split can decide.

    What decides must be no test: only images that have decided nothing say what a model is worth. And it must have
    labels where train has.
    """
    splits, found = _deciding(name, splits)
    stored = {"train": splits.train, "validation": splits.validation}
    sources = dict[str, Source]()
    if splits.validation is not None:
        sources = {"train": splits.train, "validation": splits.validation}
    else:
        sources["train"], sources["validation"] = hold_out(name, splits.train)
        if splits.test is not None:
            sources["test"] = stored["test"] = splits.test
    others = {split: source.labels for split, source in sources.items() if source is stored.get(split)}
    require_known_classes(name, splits.train.labels, others)
    labels, classes = number_labels(name, {split: source.labels for split, source in sources.items()}, splits.classes)
    prints = [source.fingerprint() if source else "none" for source in stored.values()]
    content = DataContent(
        train=len(sources["train"]),
        validation=len(sources["validation"]),
        classes=None if classes is None else len(classes),
        fingerprint=hash_parts([*prints, *(classes or ())]),
        test=len(sources["test"]) if "test" in sources else None,
    )
    split = HELD_OUT if splits.validation is None else VALIDATION
    return OpenedData(sources, labels, classes, content, split, (*splits.found, *found, *_lacking(labels, classes)))


def _deciding(name: str, splits: Splits) -> tuple[Splits, list[Decision]]:
    """The splits, without a validation split that cannot decide; and what was decided."""
    found: list[Decision] = []
    labelled = checked_labels(name, "train", splits.train.labels) is not None
    validation = splits.validation
    if labelled and validation is not None and checked_labels(name, "validation", validation.labels) is None:
        found.append(_unlabelled("validation", validation, "left out"))
        splits = replace(splits, validation=None)
    if splits.validation is None:
        found.append(Decision("a fifth of train held out to decide"))
        if splits.test is not None and labelled and checked_labels(name, "test", splits.test.labels) is None:
            found.append(_unlabelled("test", splits.test, "without figures at the end"))
    elif splits.test is not None:
        found.append(Decision(f"the test split ({len(splits.test):,} images) not read"))
    return splits, found


def _unlabelled(split: str, source: Source, then: str) -> Decision:
    names = [source.name(index) for index in range(min(len(source), SHOWN))]
    decision = Decision.about(names, f"{len(source):,} images of {split} have no labels: {then}", "data_labels")
    more = (f"and {len(source) - SHOWN:,} more",) if len(source) > SHOWN else ()
    return replace(decision, details=decision.details + more)


def _lacking(
    labels: Mapping[str, Int64[np.ndarray, " images"] | None], classes: tuple[str, ...] | None
) -> list[Decision]:
    """Classes that have training images and none that could decide."""
    train, validation = labels["train"], labels["validation"]
    if classes is None or train is None or validation is None:
        return []
    names = [classes[number] for number in np.setdiff1d(train, validation)]
    count = "1 class" if len(names) == 1 else f"{len(names):,} classes"
    return [Decision.about(names, f"{count} without validation images")] if names else []


def _decode(
    data: str,
    source: Source,
    labels: Int64[np.ndarray, " images"] | None,
    image_size: int,
    channels: int,
    skipped: dict[str, str],
) -> Images:
    """All images of a source, decoded. Broken ones are left out and added to `skipped`, by name."""
    from darl.data.decode import decode_many, decode_resized

    pixels = np.empty((len(source), channels, image_size, image_size), np.uint8)
    threads = max(torch.get_num_threads(), REMOTE_THREADS if source.remote else 1)

    def decode(index: int) -> np.ndarray:
        return decode_resized(source.read(index), image_size, channels)

    failed = decode_many(decode, range(len(source)), pixels, threads)
    names = {source.name(index): reason for index, reason in failed.items()}
    if len(failed) == len(source):
        raise no_readable_image(data, next((f"{name}: {reason}" for name, reason in names.items()), "it is empty"))
    skipped.update(names)
    if failed:
        kept = np.setdiff1d(np.arange(len(source)), list(failed))
        pixels, labels = pixels[kept], None if labels is None else labels[kept]
    return Images(pixels, labels)


def _statistics(split: Images | Stream, skipped: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, computed exactly from the pixels' histograms.

    A deviation is at least one of the 256 levels, so that constant images can be normalised.
    """
    if isinstance(split, Images):
        pixels = split.pixels
    else:
        indices = np.sort(epoch_order(split, 0, 0)[:SAMPLE].numpy())
        pixels, _, broken = split.decode(indices, split.decode_resized)
        skipped.update(broken)
        split.skipped.update(broken)
    counts = np.zeros((pixels.shape[1], LEVELS))
    for start in range(0, len(pixels), SAMPLE):
        for channel, values in enumerate(pixels[start : start + SAMPLE].swapaxes(0, 1)):
            counts[channel] += np.bincount(values.ravel(), minlength=LEVELS)
    weights, levels = counts / counts.sum(1, keepdims=True), np.arange(LEVELS) / (LEVELS - 1)
    mean = weights @ levels
    std = np.sqrt((weights * (levels - mean[:, None]) ** 2).sum(1)).clip(min=1 / (LEVELS - 1))
    return tuple(map(float, mean)), tuple(map(float, std))
