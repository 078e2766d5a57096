"""Which experiments a metric can compare: fields list the aspects they change, metrics those they cannot compare."""

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
    "data", "image_size", "channels", "model_patch_size", "causal", "attention", "condition", "order", "order_block",
    "order_seed", "objective_mask_ratio", "tokenizer", "tokenizer_weights", "token_input",
    "tokenizer_vocabulary", "tokenizer_width", "tokenizer_depth",
    "random_order", "random_order_random_until", "random_order_fixed_from",
    "random_order_seeks", "random_order_rate", "random_order_prior",
    "content_train", "content_validation", "content_classes", "content_fingerprint", "content_test",
}  # fmt: skip
TARGETS = {"objective", "objective_normalize_target"}
IN_THE_LOSS = {
    "noise", "noise_a", "noise_b", "noise_pivot", "noise_warmup", "noise_floor", "noise_share", "noise_second_a",
    "noise_second_b", "context_noise", "next_patches", "objective_decoder_depth", "objective_gamma_conditioning",
    "objective_head_depth",
    "objective_prediction", "objective_decoder_width", "objective_label_smoothing",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stepwise(Noise):
    """A user's variant that declares no aspects. It has no `kind`, so no family lists it."""

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


def test_every_field_of_the_record_declares_its_aspects() -> None:
    assert list(silent(Experiment)) == []


def test_a_field_without_aspects_is_noticed() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Grown(Experiment):
        shear: float = 0.0

    assert list(silent(Grown)) == ["Grown.shear"]
    assert list(silent(Stepwise)) == ["Stepwise.steps"]


@pytest.mark.parametrize("metric", ["probe_top1", "knn_top1", "probe_top1_enlarged"])
def test_accuracies_compare_everything(metric: str) -> None:
    assert barred(metric) == set()


def test_losses_do_not_compare_inputs_or_targets() -> None:
    assert barred("val_loss") == barred("val_loss_gamma_0_1") == SEEN | TARGETS
    assert barred("train_loss") == SEEN | TARGETS | IN_THE_LOSS


def test_a_variant_without_aspects_changes_those_of_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stepwise, "kind", "stepwise", raising=False)
    assert aspects()["noise_steps"] == {Aspect.LOSS}
    assert aspects()["noise_told"] == {Aspect.MODEL}


@pytest.mark.parametrize("field", ["shear", "model_shear", "optim_shear"])
def test_an_unknown_field_changes_every_aspect(field: str) -> None:
    require_comparable_over("probe_top1", [field])
    with pytest.raises(
        UserError,
        match=rf"got 'val_loss' where {field} differ: .*; rank by probe_top1, .* or finetune_top1$",
    ):
        require_comparable_over("val_loss", [field])


@pytest.mark.parametrize("field", ["noise_steps", "noise_of_a_kind"])
def test_a_field_of_an_unknown_variant_changes_the_variants_aspects(field: str) -> None:
    require_comparable_over("val_loss", [field])
    with pytest.raises(UserError, match=r"; rank by probe_top1, .*, finetune_top1 or val_loss$"):
        require_comparable_over("train_loss", [field])


def test_varying_fields_leave_out_the_seed() -> None:
    records = [{"seed": 0, "epochs": 1, "order": "raster"}, {"seed": 1, "epochs": 2, "order": "raster"}]
    assert require_comparable("val_loss", records) == ["epochs"]
    assert require_comparable("train_loss", records) == ["epochs"]


def test_metrics_that_do_not_compare_everything_say_why() -> None:
    assert all(bool(metric.not_across) == bool(metric.why_not_comparable) for metric in METRICS.values())
