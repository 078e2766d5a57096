"""What a field of the record changes about a run; each field says it itself, beside its default.

    image_size: int = changes(Aspect.INPUT, default=8)

A metric lists the aspects across which its values cannot be compared (`darl.metrics`). So a new field is guarded from
the day it is written, and nobody keeps a list of field names elsewhere.
"""

import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, overload

__all__ = ["Aspect", "aspect_of", "changes"]

T = TypeVar("T")


class Aspect(Enum):
    """What a field changes."""

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
    """A dataclass field, as from `dataclasses.field`, that says which aspect of a run it changes.

    Of a field that holds a variant, the aspect is the kind's, and that of the variant's own fields where these say
    nothing (as those of a user's own variant may).
    """
    return dataclasses.field(**default, metadata={Aspect: aspect})


def aspect_of(field: "dataclasses.Field[Any]") -> Aspect | None:
    """What a field says that it changes; None where it says nothing."""
    return field.metadata.get(Aspect)
