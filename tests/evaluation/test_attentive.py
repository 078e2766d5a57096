"""The attentive probe: pooling against torch's attention, tokens kept or computed again, and what it can learn."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.data import Dataset, Images
from darl.errors import UserError
from darl.evaluation.attentive import RATES, AttentiveProbe, AttentiveProtocol, fit_probes
from darl.evaluation.protocol import Protocols
from darl.evaluation.subject import Subject
from darl.evaluation.token_source import ModelTokens, PixelTokens
from darl.model.attentive_pooling import AttentivePooling, pooling_flops
from tests.evaluation.example_subjects import CPU, experiment
from tests.model.counted_operations import counted_operations


def small(digits: Dataset) -> Dataset:
    train, validation = (
        Images(split.pixels[:n], None if split.labels is None else split.labels[:n])
        for split, n in ((digits.train, 200), (digits.validation, 60))
    )
    return replace(digits, train=train, validation=validation)


@pytest.mark.parametrize("heads", [1, 3])
def test_pooling_is_torchs_multi_head_attention_with_one_query(heads: int) -> None:
    torch.manual_seed(0)
    pooling, tokens = AttentivePooling(12, heads), torch.randn(5, 7, 12)
    nn.init.normal_(pooling.query)
    reference = nn.MultiheadAttention(12, heads, bias=False, batch_first=True)
    identity = torch.eye(12)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([identity, pooling.key.weight, pooling.value.weight]))
        reference.out_proj.weight.copy_(identity)
    expected, _ = reference(pooling.query.expand(5, 1, -1), tokens, tokens)
    torch.testing.assert_close(pooling(tokens), expected[:, 0])


def aims_scores(probe: AttentiveProbe, tokens: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """AIM's classifier as its paper describes it, on tokens that are not normalised: batch norm, attention, linear."""
    norm = nn.BatchNorm1d(len(mean), eps=0, affine=False).eval()
    norm.running_mean, norm.running_var = mean, std.square()
    x = norm(tokens.transpose(1, 2)).transpose(1, 2)
    pooling = probe.pooling

    def heads(values: Tensor) -> Tensor:
        return values.unflatten(-1, (pooling.heads, -1)).transpose(1, 2)

    query = heads(pooling.query.expand(len(x), 1, -1))
    read = F.scaled_dot_product_attention(query, heads(pooling.key(x)), heads(pooling.value(x)))
    return read.transpose(1, 2).flatten(1) @ probe.linear.weight.T


def test_a_probe_is_aims_classifier_on_the_models_tokens(digits: Dataset) -> None:
    subject = Subject(experiment(depth=2).build().eval(), small(digits), CPU)
    source = ModelTokens(subject, 2, masked=True)
    probe = AttentiveProbe(16, 10, 2)
    with torch.no_grad():
        normalized = torch.cat([*source.ordered("train")])
        images = torch.cat([*source._images("train")])
        raw = subject.model.forward_features(images)
        std, mean = torch.std_mean(raw.flatten(0, 1), 0, correction=0)
        torch.testing.assert_close(probe(normalized), aims_scores(probe, raw, mean, std), rtol=0, atol=5e-3)


def test_tokens_are_the_same_kept_or_computed_again(digits: Dataset) -> None:
    data = small(digits)
    for make in (
        lambda memory: ModelTokens(Subject(experiment().build().eval(), data, CPU), 1, masked=False, memory=memory),
        lambda memory: PixelTokens(Subject(experiment().build().eval(), data, CPU), 2, 4, memory=memory),
    ):
        kept, again = make(2**30), make(0)
        for epoch in (0, 1):
            for (x, at), (other, there) in zip(kept.shuffled(epoch, 64), again.shuffled(epoch, 64), strict=True):
                assert at.tolist() == there.tolist()
                torch.testing.assert_close(x, other, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(torch.cat([*kept.ordered("train")]), torch.cat([*again.ordered("train")]))
        assert kept.width == next(kept.ordered("validation")).shape[2]


def test_probes_that_train_side_by_side_are_those_that_train_alone() -> None:
    torch.manual_seed(0)
    tokens, y = torch.randn(40, 4, 8), torch.arange(40) % 3

    def fit(rates: tuple[float, ...]) -> list[AttentiveProbe]:
        return fit_probes(lambda number: iter([(tokens, y)]), 8, 3, 2, 5, 1, CPU, rates)

    together, alone = fit((1e-3, 1e-2)), fit((1e-2,))
    for one, other in zip(together[1].parameters(), alone[0].parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.equal(together[0].linear.weight, together[1].linear.weight)


def test_a_probe_finds_the_one_token_that_tells_the_class() -> None:
    """One token of 16 shows the class, at a random place: the mean of the tokens hides it in noise."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(600) % 4
    tokens = torch.randn(600, 16, 8, generator=g)
    at = torch.randint(16, (600,), generator=g)
    tokens[torch.arange(600), at] = F.one_hot(y, 8) * 6.0 + F.one_hot(torch.full((600,), 7), 8) * 6.0
    train, test = slice(0, 400), slice(400, 600)
    probes = fit_probes(lambda number: iter([(tokens[train], y[train])]), 8, 4, 2, 150, 1, CPU)
    with torch.no_grad():
        best = max((probe(tokens[test]).argmax(1) == y[test]).double().mean().item() for probe in probes)
    assert best > 0.95


def test_the_choice_is_recorded_and_the_last_block_is_the_default(digits: Dataset) -> None:
    data, model = small(digits), experiment(depth=2).build()
    last = Protocols((AttentiveProtocol(epochs=2),))(model, data, CPU)
    best = Protocols((AttentiveProtocol(epochs=2, block="best"),))(model, data, CPU)
    assert last["attentive_readout"] in {f"block 2, learning rate {rate:g}" for rate in RATES}
    assert str(best["attentive_readout"]).startswith("block ")
    assert last["pixels_attentive_top1"] == best["pixels_attentive_top1"]
    with pytest.raises(UserError, match=r"^protocol.block must be in 1 to 2, best or last, got '3'$"):
        Protocols((AttentiveProtocol(block="3"),))(model, data, CPU)


def test_the_cost_of_pooling_is_its_matrix_products() -> None:
    pooling, tokens = AttentivePooling(16, 4), torch.randn(10, 9, 16)
    folding = 2 * 16 * 16  # once for all images
    counted = counted_operations(lambda: pooling(tokens))
    assert counted == pytest.approx(10 * pooling_flops(9, 16, 4) + folding, rel=0.01)
