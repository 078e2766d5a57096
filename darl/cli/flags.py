"""The flags that all sweeps and `darl pretrain` share, and the experiment that they describe.

Values come from five sources, later ones winning: the defaults of the record (`Experiment` and its parts), the defaults
that suit the data, the recipe, the flags that are given, and `--set`.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from darl import data
from darl.cli.data_flags import add_data_flags, located, require_one_set
from darl.cli.fields import RECORD_FLAGS, dest, overlapping, read_assignments
from darl.cli.parser import Parser, count, run_command, whole
from darl.cli.recipes import RECIPES, count_warmup, recipe_for
from darl.experiment import Experiment
from darl.model.encoder_config import ATTENTION, SIZES, attention_fields, size_of
from darl.model.noise import Noise
from darl.model.objectives.base import Objective
from darl.model.orders import Order
from darl.model.positions import Position
from darl.model.random_orders import RandomOrder
from darl.variants import Variant, convert, require

__all__ = [
    "Options",
    "Parser",
    "add_experiment_flags",
    "default_of",
    "kinds_help",
    "run_command",
]

DATA_HELP = (
    "digits (embedded; digits:0-4 are some of its classes), a folder of images, Parquet with an image column, "
    "WebDataset .tar shards, torchvision:NAME or hub:OWNER/NAME; paths may be s3:// or gs://"
)

FAMILIES: dict[str, type[Variant]] = {
    "objective": Objective, "noise": Noise, "order": Order, "random_order": RandomOrder, "position": Position,
}  # fmt: skip
"""The fields that hold a variant."""

SMALL = 8
"""Image size up to which the default is the smallest model and few epochs."""

EPOCHS = 100
"""Default number of epochs for larger images."""

MODEL_FLAGS = (
    "model", "objective", "noise", "order", "random_order", "position", "attention", "condition", "causal",
    "model.readout",
)  # fmt: skip
"""The fields whose flags a command without a model does not have."""

_NOT_SET = {"data": "be given as --data", "init": "be given as --init", "content": "be left to the data",
            "finetuning": "be given to darl finetune",
            "tokenizer": "be given as --tokenizer", "tokenizer_weights": "be given as --tokenizer",
            "token_input": "be given as --tokens"}  # fmt: skip
"""What `--set` does not take, and why."""


@dataclass(frozen=True)
class Options:
    """The parsed flags, and the experiment that they describe."""

    flags: argparse.Namespace

    @property
    def assigned(self) -> dict[str, str]:
        """The values of `--set`, as text by the field's path. Raises UserError."""
        return read_assignments(self.flags.set)

    @property
    def given(self) -> dict[str, Any]:
        """The values of the fields whose flags were given, by path; without `--data` and `--model`.

        Variants are parsed. Raises UserError.
        """
        values = {path: getattr(self.flags, dest(path)) for path in RECORD_FLAGS if path not in ("data", "model")}
        if values["attention"] is not None:
            values |= attention_fields(values["attention"], values["causal"])
        return {
            path: FAMILIES[path].parse(value) if path in FAMILIES else value
            for path, value in values.items()
            if value is not None
        }

    def _advised(self, image_size: int) -> dict[str, Any]:
        """The recipe's settings, or else the script's defaults on images as small as the digits, by path.

        `--model` gives a whole size, and so replaces the settings of one.
        """
        on_digits = self.flags.on_digits if image_size <= SMALL else {}
        flags = self.flags
        advised = recipe_for(flags.recipe, image_size, flags.model) if flags.recipe else on_digits
        of_size = ("model", "model.width", "model.depth", "model.heads") if self.flags.model else ()
        return {path: value for path, value in advised.items() if path not in of_size}

    def experiment(self, name: str | None = None) -> Experiment:
        """The experiment that the flags describe. Raises UserError.

        Most data sets are opened for their defaults, which takes time; checks that need no data come before that.

        name: name of the data, for scripts whose `--data` takes several.
        """
        flags, given, assigned = self.flags, self.given, self.assigned
        for path, remedy in _NOT_SET.items():
            require(not overlapping(assigned, path), f"--set {path}", remedy, assigned.get(path))
        objective = Objective.parse(str({**given, **assigned}.get("objective", default_of("objective"))))
        if isinstance(flags.data, list):
            require_one_set(flags, flags.data)
        name = located(flags, name or str(flags.data))
        usual = data.defaults(name)
        image_size = assigned.get("image_size", given.get("image_size", usual.image_size))
        advised = self._advised(convert("image_size", int, str(image_size)))
        size = flags.model or advised.pop("model", "nano" if usual.image_size <= SMALL else "tiny")
        changes = {
            "data": name,
            "image_size": usual.image_size,
            "channels": usual.channels,
            "augment": usual.augment,
            "model": size_of(size, patch_size=usual.patch_size),
            "epochs": EPOCHS,
            **advised,
            **given,
            **assigned,
        }
        shifts = str(changes.get("augment.shift")).lower() != "none"
        if shifts and not overlapping({**given, **assigned}, "augment.crop_min"):
            changes["augment.crop_min"] = 1.0
        count_warmup(changes, {**given, **assigned})
        if not objective.uses_noise and not overlapping(assigned, "noise"):
            changes["noise"] = None
        drawn = str({**given, **assigned}.get("random_order", "none")) != "none"
        unmasked = not objective.causal_by_default or "attention" in assigned or drawn
        if unmasked and "causal" not in {**given, **assigned}:
            changes["causal"] = False
        return Experiment().changed(changes)


def default_of(path: str) -> Any:
    """The default of a field of the record, by its path."""
    name, *rest = path.split(".")
    field = next(field for field in dataclasses.fields(Experiment) if field.name == name)
    factory = field.default_factory
    return reduce(getattr, rest, field.default if factory is dataclasses.MISSING else factory())


@dataclass(frozen=True)
class _FieldFlags:
    """Adds flags for fields of the record to a parser. A flag that is not given is None."""

    group: Any
    on_digits: Mapping[str, Any]
    """The defaults on the digits, by path, where they are not those for other data."""

    def add(self, path: str, text: str, *, usual: object = None, digits: str = "", **settings: Any) -> None:
        """usual: the default in words, if it depends on the data; the record's default if not given.

        digits: the default on the digits in words, where it is not that.
        """
        shown = _text(default_of(path)) if usual is None else usual
        own = _text(self.on_digits[path]) if path in self.on_digits else digits
        if own:
            shown = f"{own} for digits, {shown} for other data"
        self.group.add_argument(RECORD_FLAGS[path], dest=dest(path), help=f"{text} (default: {shown})", **settings)


def add_experiment_flags(
    parser: argparse.ArgumentParser,
    *,
    on_digits: Mapping[str, Any] | None = None,
    data_sets: list[str] | None = None,
    of_model: bool = True,
) -> None:
    """Add the flags that describe the experiment.

    on_digits: the defaults on images of 8 pixels, by the field's path, where they are not the record's. data_sets: the
    default data sets of a script whose `--data` takes several. of_model: with those of the model and its objective.
    """
    group = parser.add_argument_group("what is trained")
    if data_sets is None:
        group.add_argument("--data", default=default_of("data"), help=DATA_HELP)
    else:
        group.add_argument("--data", nargs="+", default=data_sets, help=f"two or more of: {DATA_HELP}")
    add_data_flags(group.add_argument)
    group.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="defaults that were chosen together: quick (minutes on one core) or paper (ImageNet on many GPUs); the "
        "flags below win (default: each flag's own)",
    )
    own = {"epochs": default_of("epochs"), **(on_digits or {})}
    parser.set_defaults(on_digits=own)
    fields = _FieldFlags(group, {"model.patch_size": default_of("model.patch_size"), **own})
    _add_image_flags(fields)
    if of_model:
        _add_model_flags(fields)
    parser.set_defaults(**{dest(path): None for path in RECORD_FLAGS if not of_model and path in MODEL_FLAGS})
    _add_training_flags(fields)
    group.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help="any field of the record by its path, as optim.clip=0.5 augment.flip=false; wins over the other flags",
    )


def _add_image_flags(fields: _FieldFlags) -> None:
    usual = "the data's own: 8 digits, 32 small images, 224 others"
    fields.add("image_size", "pixels per side", usual=usual, type=whole)
    fields.add("channels", "1 (grey) or 3 (RGB)", usual="the data's own", type=int)
    crop = "smallest part of an image's area that a random crop keeps; 1 is no crop"
    fields.add("augment.crop_min", crop, usual="0.2", digits="1", type=float)
    flip = "flip images left to right at random"
    fields.add("augment.flip", flip, usual="yes", digits="no", action=argparse.BooleanOptionalAction)
    shift = "shift images by up to this many pixels at random, in the place of crops"
    fields.add("augment.shift", shift, usual="no shifts", type=whole)
    fields.add("model.patch_size", "pixels per patch side", usual="4 (at 32 pixels) or 16 (at 224)", type=whole)


def _add_model_flags(fields: _FieldFlags) -> None:
    fields.add("model", "model size", usual="tiny", digits="nano", choices=list(SIZES))
    fields.add("objective", kinds_help(Objective))
    fields.add("noise", f"{kinds_help(Noise)}; a sweep may search it")
    fields.add("order", kinds_help(Order))
    drawn = f"an order for each image in training, annealed to --order if told to: {kinds_help(RandomOrder)}"
    fields.add("random_order", drawn, usual="one order for all")
    fields.add("position", kinds_help(Position))
    reads = "which patches read which; prefix: all of a random prefix one another, the others those before them"
    fields.add("attention", reads, usual="as --causal says", choices=list(ATTENTION))
    told = "what the start token is told in training: the image's class, so that `darl generate --class` can draw it"
    fields.add("condition", told, usual="nothing", choices=["labels"])
    fields.add("causal", "with the causal mask, if the objective allows it", action=argparse.BooleanOptionalAction)
    pooling = "pooling of the patches, which probes try beside all tokens side by side"
    fields.add("model.readout", pooling, choices=["mean", "last"])


def _add_training_flags(fields: _FieldFlags) -> None:
    fields.add("epochs", "passes over the training images", usual=EPOCHS, type=whole)
    fields.add("batch_size", "images per step, over all workers", type=whole)
    fields.add("accumulate", "micro-batches per step (gradient accumulation); must divide the batch", type=whole)
    fields.add("learning_rate", "peak learning rate", type=float)
    fields.add("optim.weight_decay", "weight decay of AdamW", type=float)
    fields.add("optim.warmup", "fraction of the steps in which the learning rate rises", type=float)
    fields.add("optim.ema", "decay of the weights' moving average; 0 keeps none", type=float)
    fields.add("precision", "auto is bfloat16 on GPUs", choices=["auto", "float32", "bfloat16"])
    fields.add("seed", "seed of initialisation, data order, augmentation and noise", type=count)


def kinds_help(family: type[Variant]) -> str:
    """All kinds of a family with their options, for help texts."""
    shown: list[str] = []
    for kind, variant in family.kinds().items():
        names = ",".join(f"{field.name}={field.default}" for field in dataclasses.fields(variant))
        shown.append(f"{kind}[:{names}]" if names else kind)
    return " | ".join(shown)


def _text(value: object) -> str:
    """A default as the help shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Variant):
        return value.kind
    return f"{value:g}" if isinstance(value, float) else str(value)
