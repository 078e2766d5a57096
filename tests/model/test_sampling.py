"""Images are drawn patch by patch, each from those before it."""

import pytest
import torch

from tests.model.small_models import images, small


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
@pytest.mark.parametrize("position", ["rope2d", "learned"])
def test_generation_with_the_cache_agrees_with_the_whole_sequence(objective: str, position: str) -> None:
    model = small(objective, position=position, order="spiral")
    patches, _ = model.encoder.patches(images())
    whole = model.context(patches)
    cache = [None] * 2
    for place in range(len(model.order)):
        step = model.next_context(patches[:, place - 1] if place else None, place, 2, cache)  # type: ignore[arg-type]
        torch.testing.assert_close(step[:, 0], whole[:, place], rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", ["mse", "diffusion", "diffusion:prediction=eps"])
def test_generation(objective: str) -> None:
    model = small(objective)
    prefix = torch.randn(3, 5, model.patch_dim).double()
    one, again = (model.generate(3, steps=4, prefix=prefix, seed=2) for _ in range(2))
    assert one.shape == (3, 2, 6, 8)
    assert one.isfinite().all()
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    kept, _ = model.encoder.patches(one)
    torch.testing.assert_close(kept[:, :5], prefix, rtol=0, atol=0)
