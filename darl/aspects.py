"""Aspects: what a field of an experiment's record changes about a run, such as its input or its loss.

A field declares its aspect together with its default:

    image_size: int = changes(Aspect.INPUT, default=8)

A metric lists the aspects across which its values cannot be compared (`darl.metrics`). So the comparison of trials
takes account of a new field as soon as it is declared; there is no list of field names elsewhere.
"""

import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, overload

__all__ = ["Aspect", "aspect_of", "changes"]

T = TypeVar("T")


class Aspect(Enum):
    """What a field changes about a run."""

    INPUT = "what the model sees before it predicts a patch: images, patches, their order, the mask"
    TARGET = "what it has to predict"
    LOSS = "how the training loss is computed for that target: the noise, and the decoder in the loss"
    MODEL = "the network"
    TRAINING = "how it is trained: optimiser, schedule, length, augmentation"
    CHANCE = "the seed"


@overload
def changes(aspect: Aspect, *, default: T) -> T: ...
@overload
def changes(aspect: Aspect, *, default_factory: Callable[[], T]) -> T: ...
def changes(aspect: Aspect, **default: Any) -> Any:
    """A dataclass field, as from `dataclasses.field`, with the aspect of a run that it changes.

    On a field that holds a variant, the aspect applies to the choice of the variant and to each of its fields that
    declares none.
    """
    return dataclasses.field(**default, metadata={Aspect: aspect})


def aspect_of(field: "dataclasses.Field[Any]") -> Aspect | None:
    """The aspect that a field declares; None where it declares none."""
    return field.metadata.get(Aspect)
