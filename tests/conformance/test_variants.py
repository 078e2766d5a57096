"""One contract for every variant of every family: a class that is defined is in the lists below by itself.

The proof is `Triangle`: a noise schedule that is mentioned nowhere but in the two tests that are about it being found.
It stays a variant of `Noise` in any process that collects this file, so no test may expect a family to be closed.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor

from darl.errors import UserError
from darl.evaluation.corruptions.base import Corruption
from darl.evaluation.dense.base import DenseProtocol
from darl.evaluation.protocol import Protocol
from darl.export.base import Export
from darl.model.noise import Beta, Noise
from darl.model.objectives.base import Objective
from darl.model.orders import Order, inverse
from darl.model.positions import Position
from darl.model.random_orders import RandomOrder
from darl.model.sampling import PatchSampler
from darl.model.tokenizers.base import Tokenizer
from darl.sweep.samplers import Sampler
from darl.training.trackers.base import Tracker
from darl.variants import Variant, field_types


@dataclass(frozen=True, kw_only=True)
class Triangle(Noise):
    """A new schedule is one class."""

    kind: ClassVar[str] = "triangle"

    def density(self, gamma: Tensor) -> Tensor:
        return 4 * torch.minimum(gamma, 1 - gamma)

    def quantile(self, probability: Tensor) -> Tensor:
        half = torch.minimum(probability, 1 - probability)
        return torch.where(probability < 0.5, (half / 2).sqrt(), 1 - (half / 2).sqrt())


def every(family: type[Variant]) -> list[Any]:
    """Each variant of the family, with its defaults."""
    return [variant() for variant in family.kinds().values()]


FAMILIES = [
    Corruption, DenseProtocol, Export, Noise, Objective, Order, PatchSampler, Position, Protocol, RandomOrder, Sampler,
    Tokenizer, Tracker,
]  # fmt: skip
VARIANTS = [variant for family in FAMILIES for variant in every(family)]
ORDERS = [*every(Order), *(Order.parse(text) for text in ("nested_raster:3", "round_robin:3", "random:7"))]
NOISES = [*every(Noise), *(Beta(a=a, b=b) for a, b in [(1.0, 1.0), (0.001, 0.001), (2.0, 5.0)])]
GRIDS = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 4), (5, 3), (4, 10), (14, 14), (16, 16)]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def test_a_new_schedule_is_found():
    assert Noise.parse("triangle") == Triangle()
    assert any(isinstance(noise, Triangle) for noise in NOISES)
    assert any(isinstance(variant, Triangle) for variant in VARIANTS)
    gamma = Triangle().sample((4, 5), torch.Generator().manual_seed(0))
    assert gamma.shape == (4, 5)


# Every variant of every family


@st.composite
def like(draw: st.DrawFn, example: Variant) -> Variant:
    """The example's variant with other field values; text fields have a closed set of values and keep theirs."""
    values = {int: st.integers(1, 2**40), float: st.floats(1e-6, 0.99) | st.floats(1e-6, 1e6), bool: st.booleans()}
    types = field_types(type(example))
    fields = {name: draw(values.get(kind, st.just(getattr(example, name)))) for name, kind in types.items()}
    try:
        return type(example)(**fields)
    except UserError:
        reject()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_no_two_variants_share_a_kind(family: type[Variant]):
    def concrete(parent: type[Variant]) -> list[type[Variant]]:
        own = [parent] if "kind" in vars(parent) else []
        return own + [variant for child in parent.__subclasses__() for variant in concrete(child)]

    assert list(family.kinds().values()) == concrete(family)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_an_unknown_kind_is_told_the_names(family: type[Variant]):
    with pytest.raises(UserError) as mistake:
        family.parse("nonesuch")
    assert str(mistake.value) == f"{family.family} must be one of {', '.join(family.kinds())}, got 'nonesuch'"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_a_variant_knows_its_family(family: type[Variant]):
    assert family.family_class() is family
    assert {variant.family_class() for variant in family.kinds().values()} == {family}


@pytest.mark.parametrize("example", VARIANTS, ids=str)
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")  # beartype does, in checks
@settings(suppress_health_check=[HealthCheck.filter_too_much])  # some fields bound each other
@given(data=st.data())
def test_a_variant_survives_record_and_text(example: Variant, data: st.DataObject):
    variant = data.draw(like(example))
    record = variant.to_record()
    family = next(family for family in FAMILIES if isinstance(variant, family))
    assert family.from_record(json.loads(json.dumps(record))) == variant
    assert family.from_record({name: str(value) for name, value in record.items()}) == variant
    assert family.parse(str(variant)) == variant
    assert record["kind"] == variant.kind


def accepts(example: Variant, name: str, value: float) -> bool:
    """Whether the example may have this value in a field."""
    try:
        dataclasses.replace(example, **{name: value})
    except UserError:
        return False
    return True


@pytest.mark.parametrize("example", VARIANTS, ids=str)
def test_equal_variants_have_one_record(example: Variant):
    """A float field that was given as an integer hashes as the same experiment."""
    floats = [name for name, kind in field_types(type(example)).items() if kind is float]
    whole = {name: 2 for name in floats if accepts(example, name, 2)}  # a fraction below 1 is never an integer
    same = {name: float(value) for name, value in whole.items()}
    given_whole, given_float = (dataclasses.replace(example, **values) for values in (whole, same))
    assert json.dumps(given_whole.to_record()) == json.dumps(given_float.to_record())


@pytest.mark.parametrize("example", VARIANTS, ids=str)
def test_a_value_of_the_wrong_type_is_named(example: Variant):
    for name, kind in field_types(type(example)).items():
        if kind in (int, float, bool):
            for wrong in ("blue", None, [1]) if kind is float else ("blue", None, [1], 2.5):
                with pytest.raises(UserError, match=rf"^{example.family}\.{name} must be "):
                    type(example).from_record({**example.to_record(), name: wrong})


# Orders


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_an_order_is_a_permutation_of_the_grid(order: Order, grid: tuple[int, int]):
    patches = torch.arange(grid[0] * grid[1])
    permutation = order.permutation(*grid)
    assert (permutation.dtype, permutation.device.type) == (torch.int64, "cpu")
    assert torch.equal(permutation.sort().values, patches)
    assert torch.equal(patches[permutation][inverse(permutation)], patches)
    assert torch.equal(order.permutation(*grid), permutation)


# Noise schedules


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("device", DEVICES)
def test_draws_are_the_generators(noise: Noise, device: str):
    def draw(seed: int) -> Tensor:
        return noise.sample((8, 64), torch.Generator(device).manual_seed(seed))

    state = torch.get_rng_state()
    gamma = draw(0)
    assert (gamma.shape, gamma.dtype, gamma.device.type) == ((8, 64), torch.float32, device)
    assert bool(((gamma >= 0) & (gamma <= 1)).all())
    assert torch.equal(gamma, draw(0))
    assert not torch.equal(gamma, draw(1))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("device", DEVICES)
def test_draws_follow_the_quantiles(noise: Noise, device: str):
    """Kolmogorov and Smirnov at 99.9 %, where draws may have atoms at 0 and 1 (all that float32 takes for them)."""
    count = 50_000
    gamma = noise.sample((count,), torch.Generator(device).manual_seed(0)).cpu()
    probability = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
    quantile = noise.quantile(probability).float()
    quantile[quantile < torch.finfo(torch.float32).tiny] = 0
    below = torch.searchsorted(gamma.sort().values, quantile) / count
    not_above = torch.searchsorted(gamma.sort().values, quantile, right=True) / count
    assert bool((below <= probability + 1.95 * count**-0.5).all())
    assert bool((not_above >= probability - 1.95 * count**-0.5).all())
    assert gamma.mean().item() == pytest.approx(noise.mean(), abs=4 * (noise.variance() / count) ** 0.5)


@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_density_is_the_slope_of_the_inverse_quantile(noise: Noise):
    """Integrated over the logit u of gamma, d gamma = gamma (1 - gamma) du, from e^-690 to 1 - e^-32."""
    u = torch.linspace(-690, 32, 300_001, dtype=torch.float64)
    mass = torch.cumulative_trapezoid(noise.density(u.sigmoid()) * u.sigmoid() * (-u).sigmoid(), u)
    probability = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    at = noise.quantile(probability).logit()
    inside = (at > u[1]) & (at < u[-1])
    assert bool(inside.any())
    right = torch.searchsorted(u[1:], at[inside])
    offset = mass[right] - probability[inside]
    torch.testing.assert_close(offset, offset[0].expand_as(offset), atol=2e-3, rtol=0)
    if inside.all():
        assert mass[-1].item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("device", DEVICES)
def test_density_and_quantile_keep_shape_and_type(noise: Noise, dtype: torch.dtype, device: str):
    x = torch.linspace(0, 1, 12, dtype=dtype, device=device).view(3, 4)
    for y in (noise.density(x), noise.quantile(x), noise.quantile(x[0, 0]).expand(3, 4)):
        assert (y.shape, y.dtype, y.device.type) == (x.shape, dtype, device)
        assert bool((y >= 0).all())
    quantile = noise.quantile(x).flatten()
    assert bool((quantile <= 1).all())
    assert bool((quantile.diff() >= 0).all())
