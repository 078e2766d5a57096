"""Patch orders as pictures, and properties of single orders (tests/conformance tests that all are permutations)."""

import pytest
import torch

from darl.errors import UserError
from darl.model.orders import Hilbert, NestedRaster, Order, Random, RoundRobin, Snake, Spiral, inverse

# When each patch of a 3 × 4 grid is visited. Random's, of seed 0, must not change: results of old sweeps depend on it.
PICTURES = {
    "raster": """ 0  1  2  3
                  4  5  6  7
                  8  9 10 11""",
    "column": """ 0  3  6  9
                  1  4  7 10
                  2  5  8 11""",
    "snake": """  0  1  2  3
                  7  6  5  4
                  8  9 10 11""",
    "nested_raster": """
                  0  1  4  5
                  2  3  6  7
                  8  9 10 11""",
    "round_robin": """
                  0  4  1  5
                  8 10  9 11
                  2  6  3  7""",
    "hilbert": """0  1 10 11
                  3  2  9  8
                  4  5  6  7""",
    "spiral": """ 0  1  2  3
                  9 10 11  4
                  8  7  6  5""",
    "random": """ 1  5  8 10
                  0  2  7  9
                 11  3  4  6""",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_picture_of_three_by_four(kind: str):
    drawn = [[int(number) for number in line.split()] for line in PICTURES[kind].split("\n") if line.strip()]
    assert inverse(Order.parse(kind).permutation(3, 4)).view(3, 4).tolist() == drawn


def test_blocks_larger_than_two():
    nested = inverse(NestedRaster(block=3).permutation(4, 5)).view(4, 5).tolist()
    assert nested == [[0, 1, 2, 9, 10], [3, 4, 5, 11, 12], [6, 7, 8, 13, 14], [15, 16, 17, 18, 19]]
    turns = inverse(RoundRobin(block=3).permutation(4, 5)).view(4, 5).tolist()
    assert turns == [[0, 4, 8, 1, 5], [11, 13, 15, 9, 12], [17, 18, 19, 14, 16], [2, 6, 10, 3, 7]]


@pytest.mark.parametrize("kind", ["nested_raster", "round_robin"])
def test_one_block_or_blocks_of_one_are_raster(kind: str):
    for block in (1, 7, 100):
        assert Order.parse(f"{kind}:{block}").permutation(5, 7).tolist() == list(range(35))


@pytest.mark.parametrize("text", ["nested_raster:0", "round_robin:block=0"])
def test_block_must_be_positive(text: str):
    with pytest.raises(UserError, match=r"^order\.block must be at least 1, got 0$"):
        Order.parse(text)


def steps(order: Order, rows: int, columns: int) -> list[tuple[int, int]]:
    """How far (down, across) each patch lies from the one before, without sign."""
    visited = order.permutation(rows, columns)
    places = torch.stack([visited // columns, visited % columns], dim=1)
    return [(down, across) for down, across in places.diff(dim=0).abs().tolist()]


@pytest.mark.parametrize("order", [Snake(), Spiral()], ids=str)
def test_each_patch_touches_the_one_before(order: Order):
    for rows in range(1, 9):
        assert all(set(steps(order, rows, columns)) <= {(0, 1), (1, 0)} for columns in range(1, 9))


def test_hilbert_has_one_diagonal_step_where_no_path_exists_and_else_none():
    for rows in range(1, 25):
        for columns in range(1, 25):
            short, long = sorted((rows, columns))
            apart = [step for step in steps(Hilbert(), rows, columns) if sum(step) != 1]
            assert apart == ([(1, 1)] if long % 2 == 1 and short % 2 == 0 and short > 2 else []), (rows, columns)


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_hilbert_is_hilberts_own_curve_on_powers_of_two(side: int):
    assert Hilbert().permutation(side, side).tolist() == [hilbert_reference(side, index) for index in range(side**2)]


def hilbert_reference(side: int, index: int) -> int:
    """The raster index of patch `index` along Hilbert's curve, from the base-4 digits of `index`, lowest first."""
    x = y = 0
    quarter = 1
    while quarter < side:
        right, down = index // 2 % 2, (index % 2) ^ (index // 2 % 2)
        if not down:
            x, y = (quarter - 1 - y, quarter - 1 - x) if right else (y, x)
        x, y = x + quarter * right, y + quarter * down
        index, quarter = index // 4, quarter * 2
    return y * side + x


def test_random_depends_on_its_seed_alone():
    torch.manual_seed(1)
    first = Random(seed=3).permutation(8, 8)
    state = torch.get_rng_state()
    again = Random(seed=3).permutation(8, 8)
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, Random(seed=4).permutation(8, 8))
    assert sorted(Random(seed=-(10**30)).permutation(2, 2).tolist()) == [0, 1, 2, 3]
