"""Properties of single schedules; tests/conformance tests each as a distribution over [0, 1]."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from darl.errors import UserError
from darl.model.noise import Beta, Cosine, Linear, Noise, nearest_beta

EXPONENTS = st.floats(-6, 6)


def draw(schedule: Noise, count: int, seed: int = 0) -> torch.Tensor:
    return schedule.sample((count,), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("a", "b"), [(0.03, 1.0), (1.0, 1.0), (0.001, 0.001), (2.0, 5.0), (1e-6, 1e-6)])
def test_beta_has_its_moments(a: float, b: float):
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    assert Beta(a=a, b=b).mean() == pytest.approx(mean)
    assert Beta(a=a, b=b).variance() == pytest.approx(variance)
    gamma = draw(Beta(a=a, b=b), 200_000).double()
    four_sigma = 4 * math.sqrt(variance / len(gamma))
    assert gamma.mean().item() == pytest.approx(mean, abs=four_sigma)
    assert gamma.var().item() == pytest.approx(variance, abs=four_sigma)  # (gamma - mean)² varies less than gamma


@given(EXPONENTS, EXPONENTS)
def test_beta_never_draws_nan(exponent_a: float, exponent_b: float):
    gamma = draw(Beta(a=10**exponent_a, b=10**exponent_b), 1000)
    assert bool(((gamma >= 0) & (gamma <= 1)).all())


def test_beta_with_tiny_parameters_draws_0_or_1():
    gamma = draw(Beta(a=1e-6, b=1e-6), 10_000)
    assert ((gamma == 0) | (gamma == 1)).float().mean().item() > 0.999


def test_small_a_is_much_noise():
    """Half the patches of the paper's best schedule have nothing left to see; logarithms keep them apart."""
    gamma = draw(Beta(a=0.03), 10_000)
    assert gamma.median().item() == pytest.approx(0.5 ** (1 / 0.03), rel=2)
    assert (gamma == 0).float().mean().item() < 0.08


@pytest.mark.parametrize("a", [0.03, 1.0, 4.0])
def test_beta_with_b_one_is_a_power(a: float):
    gamma = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    torch.testing.assert_close(Beta(a=a).density(gamma), a * gamma ** (a - 1))
    torch.testing.assert_close(Beta(a=a).quantile(gamma), gamma ** (1 / a))


def test_linear_is_ddpms_product():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    time = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(Linear().quantile(1 - time), torch.cumprod(1 - betas, 0), atol=1e-3, rtol=0)


def test_linear_has_no_density_off_its_support():
    least = Linear().quantile(torch.zeros(1)).item()
    density = Linear().density(torch.tensor([0.0, least * 0.99, least * 1.01, 1.0]))
    assert density[:2].tolist() == [0, 0]
    assert density[2].item() == pytest.approx(1 / (least * 20), rel=0.02)
    assert density[3].item() == pytest.approx(10)


def test_cosine_is_beta_of_one_half():
    x = torch.linspace(0.001, 0.999, 100, dtype=torch.float64)
    torch.testing.assert_close(Cosine().density(x), Beta(a=0.5, b=0.5).density(x))
    torch.testing.assert_close(Cosine().quantile(x), Beta(a=0.5, b=0.5).quantile(x))


def test_nearest_beta():
    cosine = nearest_beta(Cosine())
    assert (cosine.a, cosine.b) == pytest.approx((0.5, 0.5))
    linear = nearest_beta(Linear())
    assert (linear.a, linear.b) == pytest.approx((0.193, 0.507), abs=1e-3)
    assert linear.mean() == pytest.approx(Linear().mean())
    assert linear.variance() == pytest.approx(Linear().variance())


@given(st.floats(-4, 4), st.floats(-4, 4))
def test_nearest_beta_of_a_beta_is_itself(exponent_a: float, exponent_b: float):
    beta = Beta(a=10**exponent_a, b=10**exponent_b)
    nearest = nearest_beta(beta)
    assert (nearest.a, nearest.b) == pytest.approx((beta.a, beta.b), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beta:-1.0", "noise.a must be positive, got -1.0"),
        ("beta:b=-0.5", "noise.b must be positive, got -0.5"),
        ("beta:0", "noise.a must be positive, got 0.0"),
        ("beta:nan", "noise.a must be positive, got nan"),
        ("beta:b=inf", "noise.b must be between 1e-06 and 1e+06, got inf"),
        ("beta:a=much", "noise.a must be a number, got 'much'"),
        ("beta:c=1", "noise must have a field among a, b, got 'c'"),
        ("beta:1,2,3", "noise beta must have at most 2 values, got 'beta:1,2,3'"),
        ("beta:b=2,0.5", "noise.b must be given once, got 'beta:b=2,0.5'"),
    ],
)
def test_invalid_parameters_are_refused(text: str, message: str):
    with pytest.raises(UserError) as mistake:
        Noise.parse(text)
    assert str(mistake.value) == message


def test_parse_takes_values_by_order_and_by_name():
    assert Noise.parse("beta") == Beta(a=0.03, b=1.0)
    assert Noise.parse("beta:0.1") == Beta(a=0.1)
    assert Noise.parse("beta:0.1,2") == Noise.parse("beta:b=2, a=0.1") == Beta(a=0.1, b=2.0)
