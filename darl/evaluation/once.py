"""Each measurement once in a process: raw pixels, and models that share their weights.

A protocol is deterministic, so its result is a function of weights, data, device and precision. The trials of a search
begin from the same initial weights, and all trials have the same raw pixels: these are measured for the first trial.
Data that is streamed is known by its content's fingerprint (`darl.data.content`), not by its pixels.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from darl.data.splits import Images

if TYPE_CHECKING:
    from darl.data import Dataset
    from darl.model.darl import Darl

__all__ = ["data_key", "model_key", "once"]

MOST = 256
"""Number of results that are kept: numbers and short texts."""

Result = TypeVar("Result", bound=Mapping[str, float | str | list[float] | None])

_results: "OrderedDict[Hashable, Mapping[str, float | str | list[float] | None]]" = OrderedDict()

_hashes: "WeakKeyDictionary[Dataset, str | None]" = WeakKeyDictionary()


def once(key: Hashable | None, measure: Callable[[], Result]) -> Result:
    """What `measure` gives, from an earlier call with an equal key where there was one; None is equal to no key."""
    if key is None:
        return measure()
    if key not in _results:
        _results[key] = measure()
        if len(_results) > MOST:
            _results.popitem(last=False)
    _results.move_to_end(key)
    return _results[key]  # pyright: ignore[reportReturnType]


def data_key(dataset: "Dataset", device: torch.device) -> Hashable | None:
    """The pixels and labels by hash, the device, and the precision; None for streamed data of unknown content."""
    if dataset not in _hashes:
        _hashes[dataset] = _hash(dataset)
    content = _hashes[dataset]
    if content is None:
        return None
    lowered = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)
    return content, str(device), lowered


def model_key(model: "Darl", *, encoder_alone: bool) -> Hashable:
    """The weights by hash, and how they are read; encoder_alone: without decoder and objective.

    The noise schedule is not part of it: it draws the noise of training only.
    """
    config, module = model.config, model.encoder if encoder_alone else model
    digest = hashlib.sha256()
    for name, weight in module.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    reading = (config.size, config.image_size, config.channels, config.order, config.position, config.causal,
               config.tokenizer if config.token_input else None)  # fmt: skip
    predicts = (config.objective, config.attention, config.random_order)
    return digest.hexdigest(), reading, None if encoder_alone else predicts


def _hash(dataset: "Dataset") -> str | None:
    digest = hashlib.sha256(repr((dataset.mean, dataset.std)).encode())
    for split in filter(None, (dataset.train, dataset.validation, dataset.test)):
        if isinstance(split, Images):
            digest.update(repr(split.pixels.shape).encode())
            digest.update(np.ascontiguousarray(split.pixels).data)  # no copy: all trials of a host share the pixels
        elif dataset.content is None:
            return None
        else:
            digest.update(repr((dataset.content, split.image_size, split.channels, len(split))).encode())
        digest.update(b"none" if split.labels is None else np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
