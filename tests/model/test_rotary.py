"""Rotary position encodings rotate queries and keys by their patches' coordinates."""

import itertools

import pytest
import torch

from darl.model.positions import Position
from tests.model.small_models import small


@pytest.mark.parametrize("kind", ["rope1d", "rope2d"])
def test_rotary_scores_depend_on_relative_coordinates_only(kind: str) -> None:
    rows, columns, head = 5, 7, 16
    table = Position.parse(kind).build((rows, columns), 32, head).rotation((rows, columns))
    assert table is not None
    sine, cosine = (half[:, ::2] for half in table.double().chunk(2, -1))
    rotation = torch.complex(cosine, sine)
    q, k = (torch.randn(head // 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    scores = ((q * rotation)[:, None] * (k * rotation)[None].conj()).real.sum(-1)
    by_offset: dict[tuple[int, int], list[float]] = {}
    for first, second in itertools.product(range(rows * columns), repeat=2):
        offset = (first // columns - second // columns, first % columns - second % columns)
        by_offset.setdefault(offset, []).append(scores[first, second].item())
    spread = max(max(values) - min(values) for values in by_offset.values())
    assert spread < 1e-5
    assert max(map(max, by_offset.values())) - min(map(min, by_offset.values())) > 0.1
    row_only = [by_offset[(step, 0)][0] for step in range(rows)]
    assert len({round(score, 6) for score in row_only}) == rows


def test_half_the_channels_are_rotated_by_the_row_and_half_by_the_column() -> None:
    table = Position.parse("rope2d").build((3, 4), 32, 16).rotation((3, 4))
    assert table is not None
    angles = torch.atan2(*table.chunk(2, -1)).reshape(3, 4, 16)
    assert (angles[:, :, :8] == angles[:, :1, :8]).all()
    assert (angles[:, :, 8:] == angles[:1, :, 8:]).all()
    assert (angles[1, 1, :8] == angles[1, 1, 8:]).all()


def test_the_start_token_is_not_rotated() -> None:
    rotation = small().encoder.rotation
    assert rotation is not None
    sine, cosine = rotation[0, 0].chunk(2, -1)
    assert (sine == 0).all()
    assert (cosine == 1).all()


def test_rotating_complex_numbers_is_timms_rotation() -> None:
    from timm.layers import apply_rot_embed_cat

    from darl.model.transformer import apply_rotary

    model = small()
    qkv, table = torch.randn(2, 13, 3, 2, 16), model.encoder.rotation
    assert table is not None
    torch.testing.assert_close(apply_rotary(qkv, table[:13]), apply_rot_embed_cat(qkv, table[:13].float()))
    low = apply_rotary(qkv.bfloat16(), table[:13].float())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), apply_rotary(qkv, table[:13]), rtol=0.02, atol=0.02)
