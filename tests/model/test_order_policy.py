"""The distribution of learned orders: its gradient is that of the probabilities, and it finds a known order."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import Tensor

from darl.errors import UserError
from darl.model.order_policy import OrderPolicy, log_probability_gradient
from darl.model.random_orders import Learned


def policy(patches: int = 6, *, sign: int = -1, rate: float = 0.1, prior: float = 0.0) -> OrderPolicy:
    return OrderPolicy(patches, sign=sign, rate=rate, prior=prior)


def step_probabilities(scores: Tensor, order: Tensor) -> Tensor:
    """By the definition: patch after patch, among those that are left."""
    left, chosen = scores[order], []
    for step in range(len(order)):
        chosen.append(torch.softmax(left[step:], 0)[0])
    return torch.stack(chosen)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_gradient_is_autograd_s() -> None:
    scores = torch.randn(7, generator=generator(), dtype=torch.float64).requires_grad_()
    orders = torch.stack([torch.randperm(7, generator=generator(seed)) for seed in range(4)])
    weights = torch.randn(4, 7, generator=generator(1), dtype=torch.float64)
    expected = [
        torch.autograd.grad((row * step_probabilities(scores, order).log()).sum(), scores)[0]
        for row, order in zip(weights, orders, strict=True)
    ]
    found = log_probability_gradient(scores.detach(), orders, weights)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-12)


def test_scores_that_are_far_apart_have_a_finite_gradient() -> None:
    scores = torch.tensor([0.0, -800.0, 5.0, -2000.0]).double()
    orders = torch.tensor([[3, 1, 0, 2], [2, 0, 1, 3]])
    found = log_probability_gradient(scores, orders, torch.full((2, 4), 10.0).double())
    assert found.isfinite().all()
    assert found[0, 3] == pytest.approx(10)  # it had no chance of being first
    assert found[1, 2] == pytest.approx(0, abs=0.1)  # nor did this one of not being so


def test_orders_are_drawn_as_often_as_their_probability_says() -> None:
    own, count = policy(4, prior=2.0), 40_000
    drawn = Counter(map(tuple, own.draw(count, generator()).tolist()))
    for order in permutations(range(4)):
        expected = step_probabilities(own.strengths, torch.tensor(order)).prod().item()
        deviation = (expected * (1 - expected) / count) ** 0.5
        assert drawn[order] / count == pytest.approx(expected, abs=4 * deviation)
    assert own.strengths.argsort(descending=True).tolist() == [0, 1, 2, 3]


def learned_from(own: OrderPolicy, weight: Tensor, steps: int = 400) -> OrderPolicy:
    """Trained on errors that are the larger, the later a patch of large weight is read; images differ in difficulty."""
    draws = generator(3)
    for _ in range(steps):
        orders = own.draw(64, draws)
        difficulty = torch.exp(0.5 * torch.randn(64, 1, generator=draws))
        own.observe(orders, difficulty * (1 + weight * orders.argsort(1)))
        own.update(lambda total: total)
    return own


@pytest.mark.parametrize(("sign", "agreement"), [(-1, 1.0), (1, -1.0)])
def test_it_finds_the_order_that_makes_errors_small_or_large(sign: int, agreement: float) -> None:
    weight = torch.tensor([0.1, 0.5, 0.3, 0.0, 0.4, 0.2])
    own = learned_from(policy(sign=sign), weight)
    assert kendalltau(own.strengths.numpy(), weight.numpy()).statistic == pytest.approx(agreement)
    assert own.strengths.max() - own.strengths.min() > 1


def test_where_orders_make_no_difference_it_stays_near_uniform() -> None:
    own = learned_from(policy(), torch.zeros(6))
    assert own.strengths.max() - own.strengths.min() < 0.5


def test_the_scale_of_the_errors_and_the_split_over_workers_change_nothing() -> None:
    weight, one, scaled = torch.linspace(0, 0.5, 6), policy(), policy()
    parts, draws = [policy(), policy()], generator(5)
    for _ in range(20):
        orders = one.draw(32, draws)
        errors = 1 + weight * orders.argsort(1)
        one.observe(orders, errors)
        scaled.observe(orders, 64 * errors)
        for part, rows in zip(parts, (slice(0, 20), slice(20, 32)), strict=True):
            part.observe(orders[rows], errors[rows])
        both = parts[0].pending + parts[1].pending
        one.update(lambda total: total)
        scaled.update(lambda total: total)
        for part in parts:
            part.update(lambda _, both=both: both)
    assert torch.equal(parts[0].scores, one.scores)
    assert torch.equal(parts[1].baseline, one.baseline)
    np.testing.assert_allclose(scaled.strengths, one.strengths, atol=1e-4)


def test_losses_that_are_not_finite_leave_it_finite() -> None:
    own, orders = policy(), torch.arange(6).expand(3, -1)
    for _ in range(3):
        own.observe(orders, torch.tensor([[float("nan")], [float("inf")], [1.0]]).expand(3, 6))
        own.update(lambda total: total)
    assert bool(own.strengths.isfinite().all())
    assert own.strengths.abs().max() < 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeks": "fun"}, "random_order.seeks must be low_loss or high_loss, got 'fun'"),
        ({"rate": 0.0}, "random_order.rate must be above 0 and at most 100, got 0.0"),
        ({"prior": -1.0}, "random_order.prior must be between 0 and 100, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        Learned(**options)  # pyright: ignore[reportArgumentType]
    assert str(error.value) == message
