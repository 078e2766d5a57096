"""Which split the name of a file or folder means: `train-00000.parquet`, `imagenet_val`, `Testing`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["split_folders", "split_of", "splits_of"]

SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
          "val": "validation", "dev": "validation", "test": "test", "testing": "test"}  # fmt: skip

EVALUATION = ("eval", "evaluation")
"""Validation, or test beside another validation split."""

_NAME = re.compile(rf"(?P<before>.*[^a-z])?(?P<word>{'|'.join([*SPLITS, *EVALUATION])})(?P<after>[^a-z].*)?")


def split_of(path: str) -> str:
    """The split that a path names by the first word of a file or folder: `train`, `validation`, `test`, or empty."""
    words = (re.split(r"[^a-z]", part)[0] for part in path.lower().split("/"))
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def splits_of(paths: Sequence[str]) -> list[str]:
    """The split that each path of a data set names, or an empty text.

    By `split_of`; where no path begins so, by the word that ends a prefix (`imagenet_train-0001.tar`) if there is a
    training split then.
    """
    splits = [split_of(path) or _evaluation(path) for path in paths]
    if not any(splits):
        inner = [next(filter(None, map(_word, path.split("/"))), "") for path in paths]
        splits = [SPLITS.get(word, word) for word in inner]
        splits = splits if "train" in splits else [""] * len(paths)
    return _resolved(splits)


def _evaluation(path: str) -> str:
    words = (re.split(r"[^a-z]", part)[0] for part in path.lower().split("/"))
    return EVALUATION[0] if any(word in EVALUATION for word in words) else ""


def _word(name: str) -> str:
    """The word of a split in a name, where it stands as a word: of several the last; empty where there is none."""
    match = _NAME.fullmatch(name.lower())
    return "" if match is None else match["word"]


def _resolved(splits: list[str]) -> list[str]:
    """The splits, with `eval` told apart: it is the validation split, or the test split beside another validation."""
    instead = "validation" if "validation" not in splits else "test" if "test" not in splits else ""
    return [instead if split in EVALUATION else split for split in splits]


def split_folders(names: Iterable[str]) -> dict[str, str]:
    """The split of each folder of a level that is a level of splits; empty where it is none.

    It is one where all folders are called like splits, each like another (`Training` and `testing`, `imagenet_train`
    and `imagenet_val`), and also where `train` stands beside `val` or `test`: other folders are then outside of the
    splits. A level of classes may have one that is called `train`, as CIFAR-100 has. Without a training split, the
    validation split is what is trained on.
    """
    names = sorted(names)
    whole = _all_splits(names)
    if whole:
        return whole
    splits = dict(zip(names, map(split_of, names), strict=True))
    kinds = set(splits.values())
    if "train" in kinds and (kinds & {"validation", "test"}):
        return {name: split for name, split in splits.items() if split}
    return {}


def _all_splits(names: list[str]) -> dict[str, str]:
    """The splits of names that are all those of splits, each of another; else empty."""
    matches = [_NAME.fullmatch(name.lower()) for name in names]
    found = [match for match in matches if match is not None]
    if len(found) < len(names):
        return {}
    splits = _resolved([SPLITS.get(match["word"], match["word"]) for match in found])
    if "" in splits or len(set(splits)) < len(splits):
        return {}
    if "train" in splits:
        return dict(zip(names, splits, strict=True))
    alike = len({(match["before"], match["after"]) for match in found}) == 1
    if len(splits) < 2 or not alike:
        return {}
    return {name: "train" if split == "validation" else split for name, split in zip(names, splits, strict=True)}
