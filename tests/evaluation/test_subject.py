"""Frozen features: what they are, and that an evaluation computes them once."""

from dataclasses import replace

import pytest
import torch
from sklearn.decomposition import PCA

from darl.data import Dataset, Images
from darl.errors import UserError
from darl.evaluation import subject as subject_module
from darl.evaluation.feature_protocol import feature_widths
from darl.evaluation.subject import TOKENS, Readout, Subject, coarse_grid
from tests.evaluation.example_subjects import CPU, experiment, unlabelled

MEAN, SIDE_BY_SIDE = Readout(1, "mean"), Readout(1, TOKENS)


def last_images(digits: Dataset, count: int) -> torch.Tensor:
    return (torch.tensor(digits.validation.pixels[-count:]).float() / 255 - digits.mean[0]) / digits.std[0]  # type: ignore[union-attr]


def test_features_keep_the_order_of_the_images(digits: Dataset) -> None:
    model = experiment().build()
    subject = Subject(model, digits, CPU)
    assert subject.labels("validation").tolist() == digits.validation.labels.tolist()  # type: ignore[union-attr]
    tokens = model.forward_features(last_images(digits, 3)).detach()
    features = subject.features("validation", [MEAN, SIDE_BY_SIDE])
    torch.testing.assert_close(features[MEAN][-3:], tokens.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features[SIDE_BY_SIDE][-3:], tokens.flatten(1), rtol=1e-4, atol=1e-5)


def test_features_of_every_block_are_those_of_a_model_that_ends_there(digits: Dataset) -> None:
    """Block 1 of three, and the tokens that a model of these blocks alone gives without its last norm."""
    model = experiment(depth=3).build()
    subject = Subject(model, digits, CPU)
    assert subject.candidates("best", "best") == [
        Readout(block, pooling) for block in (1, 2, 3) for pooling in ("mean", TOKENS)
    ]
    model.encoder.blocks, model.encoder.norm = model.encoder.blocks[:1], torch.nn.Identity()  # type: ignore[index, assignment]
    shorter = model.forward_features(last_images(digits, 2)).detach().flatten(1)
    whole = Subject(experiment(depth=3).build(), digits, CPU).features("validation", [SIDE_BY_SIDE])
    torch.testing.assert_close(whole[SIDE_BY_SIDE][-2:], shorter, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", ["best", "last", "last2", "1"])
@pytest.mark.parametrize("readout", ["best", "tokens", "mean", "pca20"])
def test_the_dry_run_counts_the_features_own_widths(block: str, readout: str, digits: Dataset) -> None:
    few = replace(digits, train=Images(digits.train.pixels[:40], None))  # type: ignore[union-attr]
    model = experiment(depth=2).build()
    subject = Subject(model, few, CPU)
    features = subject.features("train", subject.candidates(block, readout))
    assert sorted(feature_widths(model.config, block, readout)) == sorted(x.shape[1] for x in features.values())


def test_the_mask_can_be_removed(digits: Dataset) -> None:
    model = experiment().build()
    kept = Subject(model, digits, CPU).features("validation", [MEAN])[MEAN]
    removed = Subject(model, digits, CPU).features("validation", [MEAN], masked=False)[MEAN]
    assert not torch.allclose(kept, removed)
    bidirectional = experiment(causal=False).build()
    torch.testing.assert_close(Subject(bidirectional, digits, CPU).features("validation", [MEAN])[MEAN], removed)


def test_features_that_are_not_finite_are_an_error(digits: Dataset) -> None:
    model = experiment().build()
    torch.nn.init.constant_(model.encoder.norm.weight, torch.nan)
    with pytest.raises(ArithmeticError, match="try a lower learning rate"):
        Subject(model, digits, CPU).features("validation", [MEAN])


def test_features_are_computed_once(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    read = Subject._read
    monkeypatch.setattr(Subject, "_read", lambda *args, **named: passes.append(1) or read(*args, **named))
    subject = Subject(experiment().build(), digits, CPU)
    usual = subject.features("validation", [MEAN, SIDE_BY_SIDE])
    assert subject.features("validation", [MEAN])[MEAN] is usual[MEAN]
    assert len(passes) == 1
    larger = subject.features("validation", [MEAN, SIDE_BY_SIDE], size=12)
    assert len(passes) == 2
    assert not torch.equal(usual[MEAN], larger[MEAN])
    assert larger[SIDE_BY_SIDE].shape == usual[SIDE_BY_SIDE].shape  # averaged to the grid of training
    assert subject.classes == 10


def test_many_tokens_are_averaged_to_a_coarser_grid() -> None:
    assert coarse_grid((4, 4), 64) == (4, 4)
    assert coarse_grid((14, 14), 192) == (4, 4)
    assert coarse_grid((14, 14), 768) == (2, 2)
    assert coarse_grid((2, 8), 3072) == (1, 2)


def test_tokens_are_not_tried_where_they_do_not_fit_in_memory(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject_module, "MEMORY", 2**20)
    assert Subject(experiment().build(), digits, CPU).candidates("best", "best") == [MEAN]


def test_blocks_are_left_out_evenly_where_the_pooled_ones_do_not_fit(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(experiment(depth=5).build(), digits, CPU)
    monkeypatch.setattr(subject_module, "MEMORY", 0)
    bytes_a_block = 4 * (len(digits.train) + len(digits.validation)) * subject.model.encoder.embed_dim
    for blocks, left in ((5, [1, 2, 3, 4, 5]), (4.9, [1, 3, 5]), (2, [2, 5]), (0.5, [5])):
        monkeypatch.setattr(subject_module, "POOLED_MEMORY", int(blocks * bytes_a_block))
        assert [readout.block for readout in subject.candidates("best", "best")] == left


def test_the_last_blocks_are_put_side_by_side(digits: Dataset) -> None:
    subject = Subject(experiment(depth=3).build(), digits, CPU)
    assert subject.candidates("last", "mean") == subject.candidates("last1", "mean") == [Readout(3, "mean")]
    both = subject.candidates("last2", "best")
    assert [str(each) for each in both] == ["blocks 2 to 3, mean", "blocks 2 to 3, tokens"]
    for readout in both:
        parts = [Readout(block, readout.pooling) for block in (2, 3)]
        single = subject.features("validation", parts)
        whole = subject.features("validation", [readout])[readout]
        assert torch.equal(whole, torch.cat([single[part] for part in parts], 1))
    with pytest.raises(UserError, match=r"^protocol.block must be last1 to last3, got 'last4'$"):
        subject.candidates("last4", "best")


def test_components_are_those_of_the_training_images(digits: Dataset) -> None:
    """Against scikit-learn's PCA; enlarged images are projected as the others."""
    subject = Subject(experiment().build(), digits, CPU)
    readout = Readout(1, "pca20")
    validation = subject.features("validation", [readout])[readout]
    tokens = [subject.features(split, [SIDE_BY_SIDE])[SIDE_BY_SIDE] for split in ("train", "validation")]  # type: ignore[arg-type]
    peer = PCA(20, svd_solver="full").fit(tokens[0].numpy())
    torch.testing.assert_close(validation, torch.tensor(peer.transform(tokens[1].numpy())), rtol=1e-3, atol=1e-4)
    larger = subject.features("validation", [readout, SIDE_BY_SIDE], size=12)
    expected = torch.tensor(peer.transform(larger[SIDE_BY_SIDE].numpy()))
    torch.testing.assert_close(larger[readout], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("block", ["0", "2"])
def test_a_block_that_the_model_lacks_is_refused(digits: Dataset, block: str) -> None:
    with pytest.raises(UserError, match=f"^protocol.block must be in 1 to 1, best or last, got '{block}'$"):
        Subject(experiment().build(), digits, CPU).candidates(block, "best")


def test_data_is_labelled_where_both_splits_are(digits: Dataset) -> None:
    model = experiment().build()
    assert Subject(model, digits, CPU).labelled
    assert not Subject(model, unlabelled(digits), CPU).labelled
