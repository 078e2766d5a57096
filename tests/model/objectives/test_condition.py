"""Labels as a condition: of training and drawing, never of features."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import darl
from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation.subject import Subject
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.model.objectives.base import LABELS
from darl.model.objectives.condition import DROPPED, ClassCondition
from darl.model.objectives.next_patch import PatchDecoder
from darl.model.sampling import Sampling
from darl.training.task import task_of
from tests.model.reference_model import reference_context
from tests.model.small_models import images, small


def conditional(objective: str = "diffusion", **options: object) -> Darl:
    """A model whose classes differ strongly."""
    model = small(objective, condition="labels", classes=3, **options)
    torch.nn.init.normal_(vectors(model), std=2.0, generator=torch.Generator().manual_seed(0))
    return model


def vectors(model: Darl) -> torch.nn.Parameter:
    assert isinstance(model.decoder, PatchDecoder)
    assert isinstance(model.decoder.condition, ClassCondition)
    return model.decoder.condition.vectors


def drawn(model: Darl, labels: list[int]) -> dict[str, Tensor]:
    return {**model.draw(range(len(labels)), 0), LABELS: torch.tensor(labels)}


def test_the_start_token_knows_the_class_unless_it_is_dropped() -> None:
    model = conditional("mse")
    patches, _ = model.encoder.patches(images())
    start = model.encoder.start_token.detach().clone()
    contexts = []
    for label, kept in ((2, True), (1, False)):
        with torch.no_grad():
            model.encoder.start_token.copy_(start + kept * vectors(model)[label])
        contexts.append(reference_context(model, patches[len(contexts) :][:1]))
    with torch.no_grad():
        model.encoder.start_token.copy_(start)
    expected, _ = model.decoder.loss(torch.cat(contexts), patches, {})
    draws = {**drawn(model, [2, 1]), "label_kept": torch.tensor([True, False])}
    torch.testing.assert_close(model(images(), draws)["loss"], expected, rtol=0, atol=1e-10)


def test_equal_labels_add_up_their_gradients_in_a_fixed_order() -> None:
    """As `embedding`'s backward pass does; that of plain indexing adds in the order in which threads come."""
    added = ClassCondition(3, 4)(torch.tensor([0, 0, 2]))
    assert added.grad_fn is not None
    assert added.grad_fn.name() == "EmbeddingBackward0"


def test_the_stated_share_is_dropped_and_two_workers_drop_the_same() -> None:
    model = conditional()
    kept = model.draw(range(4096), 0, 1)["label_kept"]
    assert kept.float().mean().item() == pytest.approx(1 - DROPPED, abs=0.02)
    assert torch.equal(model.draw(range(32, 64), 0, 1)["label_kept"], kept[32:64])
    assert "label_kept" not in small().draw(range(2), 0)


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
def test_features_and_estimates_have_no_way_to_the_label(objective: str) -> None:
    """They are bit for bit those of the model whose classes' vectors are others, and no gradient leads there."""
    model, other = conditional(objective), conditional(objective)
    torch.nn.init.constant_(vectors(other), 1e6)
    noisy, gamma = torch.zeros(2, 12, 8).double(), torch.zeros(2, 12).double()
    for read in (
        lambda one: one.forward_features(images()),
        lambda one: torch.stack(list(one.encoder.forward_blocks(images()))),
        lambda one: one.denoiser(images()).estimate(noisy, gamma),
        lambda one: one.generate(2, steps=1, seed=3),
    ):
        assert torch.equal(read(model), read(other))
    features = model.forward_features(images())
    (gradient,) = torch.autograd.grad(features.sum(), vectors(model), allow_unused=True)
    assert gradient is None


def test_features_for_probes_do_not_change_with_the_images_labels(digits: Dataset) -> None:
    """As evaluations read them: labels of training and validation images are permuted."""
    model = Experiment(content=digits.content, condition="labels").build()
    parts = {split: getattr(digits, split) for split in ("train", "validation")}
    shuffled = replace(digits, **{name: replace(part, labels=part.labels[::-1].copy()) for name, part in parts.items()})
    (readout,) = Subject(model, digits, torch.device("cpu")).candidates("last", "mean")
    read = [Subject(model, data, torch.device("cpu")).features("validation", [readout])[readout]
            for data in (digits, shuffled)]  # fmt: skip
    assert torch.equal(*read)


@pytest.mark.parametrize("objective", ["mse", "diffusion:gamma_conditioning=true"])
def test_drawings_are_of_the_class(objective: str) -> None:
    """The same noise gives other images for another class; a class for each image is that image's own."""
    model = conditional(objective)
    free, first, second = (model.generate(2, steps=2, labels=label) for label in (None, 0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first, free)
    mixed = model.generate(2, steps=2, labels=[0, 1])
    torch.testing.assert_close(mixed[0], first[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(mixed[1], second[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", ["mse", "diffusion:gamma_conditioning=true"])
def test_guidance_0_is_drawing_without_and_1_with_the_class(objective: str) -> None:
    model = conditional(objective)
    how = {"steps": 3, "sampler": "ddim"}
    torch.testing.assert_close(
        model.generate(2, labels=1, guidance=0.0, **how), model.generate(2, **how), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        model.generate(2, labels=1, guidance=1 + 1e-12, **how), model.generate(2, labels=1, **how), rtol=0, atol=1e-8
    )
    weak, strong = (model.generate(2, labels=1, guidance=scale, **how) for scale in (1.0, 3.0))
    assert not torch.equal(weak, strong)


def test_a_guided_estimate_goes_from_no_class_past_the_class() -> None:
    both = torch.tensor([[3.0], [5.0], [1.0], [1.0]])
    assert Sampling(labels=(0, 0), guidance=2.0).guide(both).tolist() == [[5.0], [9.0]]
    assert torch.equal(Sampling().guide(both), both)


def test_a_record_has_it_only_where_it_is_given() -> None:
    own = Experiment().changed({"condition": "labels"})
    assert Experiment.from_record(own.to_record()) == own
    assert "condition" not in Experiment().to_record()
    assert own.trial_id != Experiment().trial_id


def test_images_without_labels_are_refused(digits: Dataset) -> None:
    unlabelled = replace(digits, train=replace(digits.train, labels=None))
    with pytest.raises(UserError, match=r"^data must have labels for condition labels, got 'digits'$"):
        task_of(Experiment(content=digits.content, condition="labels"), unlabelled)


def test_what_does_not_fit_is_refused() -> None:
    options = {"image_size": 8, "patch_size": 4}
    for changes, message in (
        ({"condition": "captions"}, r"condition must be labels, or none, got 'captions'"),
        ({"condition": "labels"}, r"classes must be the number of classes of the labels .*, got None"),
        ({"condition": "labels", "objective": "mae"}, r"condition must be left out for objective mae, got 'labels'"),
    ):
        with pytest.raises(UserError, match=f"^{message}$"):
            darl.create_model("nano", **options, **changes)  # type: ignore[arg-type]
    for arguments, message in (
        ({"labels": 3}, r"labels must be classes from 0 to 2, got 3"),
        ({"labels": [0]}, r"labels must be one class, or one for each of 2 images, got \[0\]"),
        ({"guidance": 2.0}, r"guidance must come with labels to guide to, got 2\.0"),
    ):
        with pytest.raises(UserError, match=f"^{message}$"):
            conditional("mse").generate(2, **arguments)
    with pytest.raises(UserError, match=r"^condition must be labels \(in pretraining\) to draw images of a class"):
        small("mse").generate(2, labels=0)
