"""Which experiments a metric can compare: fields say what they change, and metrics across what they mean nothing."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from darl.aspects import Aspect, aspect_of, changes
from darl.errors import UserError
from darl.experiment import Experiment, aspects, columns
from darl.metrics import METRICS
from darl.model.noise import Noise
from darl.sweep.comparability import require_comparable, require_comparable_over
from darl.variants import Variant

SEEN = {
    "data", "content_train", "content_validation", "content_classes", "content_fingerprint", "image_size", "channels",
    "model_patch_size", "causal", "order", "order_block", "order_seed",
}  # fmt: skip
TARGETS = {"objective", "objective_normalize_target"}
IN_THE_LOSS = {
    "noise", "noise_a", "noise_b", "objective_decoder_depth", "objective_gamma_conditioning", "objective_prediction",
    "objective_head_depth",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stepwise(Noise):
    """As of a user who knows nothing of aspects. It has no kind, so no family finds it."""

    steps: int = 3
    told: bool = changes(Aspect.MODEL, default=True)

    def density(self, gamma: Tensor) -> Tensor:
        return torch.ones_like(gamma)

    def quantile(self, probability: Tensor) -> Tensor:
        return probability


def silent(kind: Any) -> Iterator[str]:
    """Fields of a dataclass, and of the dataclasses and variants in it, that do not say what they change.

    A field that holds a plain dataclass may speak for all of that one's fields.
    """
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        parts: list[Any] = [hints[field.name], *get_args(hints[field.name])]
        inner = next((part for part in parts if dataclasses.is_dataclass(part)), None)
        says, family = aspect_of(field) is not None, inner is not None and issubclass(inner, Variant)
        if not says and (inner is None or family):
            yield f"{kind.__name__}.{field.name}"
        below = inner.kinds().values() if family else [] if says or inner is None else [inner]
        for other in below:
            if other.__module__.startswith("darl."):
                yield from silent(other)


def barred(metric: str) -> set[str]:
    """The columns that forbid a metric."""

    def forbids(column: str) -> bool:
        try:
            require_comparable_over(metric, [column])
        except UserError:
            return True
        return False

    return {column for column in columns() if forbids(column)}


def test_every_field_of_the_record_says_what_it_changes() -> None:
    assert list(silent(Experiment)) == []


def test_a_field_that_says_nothing_is_noticed() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Grown(Experiment):
        shear: float = 0.0

    assert list(silent(Grown)) == ["Grown.shear"]
    assert list(silent(Stepwise)) == ["Stepwise.steps"]


@pytest.mark.parametrize("metric", ["probe_top1", "knn_top1", "probe_top1_enlarged"])
def test_accuracies_compare_everything(metric: str) -> None:
    assert barred(metric) == set()


def test_losses_do_not_compare_what_is_seen_or_predicted() -> None:
    assert barred("val_loss") == barred("val_loss_gamma_0_1") == SEEN | TARGETS
    assert barred("train_loss") == SEEN | TARGETS | IN_THE_LOSS


def test_a_users_variant_that_says_nothing_changes_what_its_family_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stepwise, "kind", "stepwise", raising=False)
    assert aspects()["noise_steps"] == {Aspect.LOSS}
    assert aspects()["noise_told"] == {Aspect.MODEL}


@pytest.mark.parametrize("field", ["shear", "model_shear", "optim_shear"])
def test_a_field_that_is_not_known_is_taken_to_change_everything(field: str) -> None:
    require_comparable_over("probe_top1", [field])
    with pytest.raises(UserError, match=rf"got 'val_loss' where {field} differ: .*; rank by probe_top1 or knn_top1$"):
        require_comparable_over("val_loss", [field])


@pytest.mark.parametrize("field", ["noise_steps", "noise_of_a_kind"])
def test_a_field_of_a_variant_that_is_not_known_changes_what_the_variant_does(field: str) -> None:
    require_comparable_over("val_loss", [field])
    with pytest.raises(UserError, match=r"; rank by probe_top1, knn_top1 or val_loss$"):
        require_comparable_over("train_loss", [field])


def test_what_varies_is_told_without_the_seed() -> None:
    records = [{"seed": 0, "epochs": 1, "order": "raster"}, {"seed": 1, "epochs": 2, "order": "raster"}]
    assert require_comparable("val_loss", records) == ["epochs"]
    assert require_comparable("train_loss", records) == ["epochs"]


def test_metrics_that_do_not_compare_everything_say_why() -> None:
    assert all(bool(metric.not_across) == bool(metric.because) for metric in METRICS.values())
