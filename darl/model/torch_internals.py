"""All private names of torch that the model uses, with the reason for each; tests/model/test_internals.py checks them.

Public names are used wherever they exist.
"""

import torch
from torch import Tensor

__all__ = ["REASONS", "standard_gamma"]

REASONS = {
    "torch._standard_gamma": (
        "Beta noise schedules draw gamma variates with it: no public sampler of gamma variates takes a generator, and "
        "torch.distributions.Gamma, which calls this one, draws from the global generator. Without it `Beta.sample` "
        "fails, and another sampler would give other draws for the same seed, hence other results."
    )
}
"""For each private name: what uses it, why, and what breaks without it."""


def standard_gamma(concentrations: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma variates of these shape parameters and scale 1, on the generator's device."""
    return torch._standard_gamma(concentrations, generator=generator)  # pyright: ignore
