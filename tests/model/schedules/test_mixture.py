"""Mixtures of two Beta schedules; tests/conformance tests the default as a distribution."""

import pytest
import torch

from darl.errors import UserError
from darl.model.noise import PAPER, Beta, Noise
from darl.model.schedules.mixture import Mixture

UNIFORM = Beta(a=1.0, b=1.0)


@pytest.mark.parametrize(("share", "part"), [(0.0, PAPER), (1.0, UNIFORM)])
def test_a_share_of_nothing_or_all_is_a_single_schedule(share: float, part: Beta) -> None:
    mixture = Mixture(share=share)
    x = torch.linspace(0.001, 0.999, 50, dtype=torch.float64)
    torch.testing.assert_close(mixture.density(x), part.density(x))
    torch.testing.assert_close(mixture.quantile(x), part.quantile(x), rtol=1e-6, atol=1e-300)
    assert (mixture.mean(), mixture.variance()) == pytest.approx((part.mean(), part.variance()))


def test_quantiles_invert_the_mixed_distribution_functions() -> None:
    """Of the paper's and the uniform schedule: 0.75 gamma^0.03 + 0.25 gamma."""
    probability = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    gamma = Mixture().quantile(probability)
    torch.testing.assert_close(0.75 * gamma**0.03 + 0.25 * gamma, probability, rtol=1e-9, atol=0)


def test_moments_and_draws_are_those_of_the_mixture() -> None:
    mixture = Mixture(share=0.3, a=2.0, b=5.0, second_a=4.0, second_b=1.0)
    gamma = mixture.sample((200_000,), torch.Generator().manual_seed(0)).double()
    assert gamma.mean().item() == pytest.approx(mixture.mean(), abs=0.003)
    assert gamma.var().item() == pytest.approx(mixture.variance(), abs=0.003)
    assert mixture.mean() == pytest.approx(0.7 * 2 / 7 + 0.3 * 4 / 5)


def test_it_is_parsed_and_refused_in_one_line() -> None:
    assert Noise.parse("mixture:0.1,0.03,1,2,2") == Mixture(share=0.1, second_a=2.0, second_b=2.0)
    for text, message in (
        ("mixture:1.5", "noise.share must be in [0, 1], got 1.5"),
        ("mixture:second_b=0", "noise.second_b must be between 1e-06 and 1e+06, got 0.0"),
    ):
        with pytest.raises(UserError) as mistake:
            Noise.parse(text)
        assert str(mistake.value) == message
