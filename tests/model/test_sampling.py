"""Images are drawn patch by patch, each from those before it."""

import pytest
import torch

from darl.errors import UserError
from tests.model.small_models import context, images, small


@pytest.mark.parametrize("objective", ["mse", "diffusion"])
@pytest.mark.parametrize("position", ["rope2d", "learned"])
def test_generation_with_the_cache_agrees_with_the_whole_sequence(objective: str, position: str) -> None:
    model = small(objective, position=position, order="spiral")
    patches, _ = model.encoder.patches(images())
    whole = context(model, patches)
    cache = model.encoder.new_cache()
    for index in range(len(model.order)):
        output = model.encoder.next_output(patches[:, index - 1] if index else None, index, 2, cache)
        torch.testing.assert_close(output[:, 0], whole[:, index], rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", ["mse", "diffusion", "diffusion:prediction=eps", "mse:head_depth=2"])
def test_generation(objective: str) -> None:
    model = small(objective)
    prefix = torch.randn(3, 5, model.patch_dim).double()
    drawn, again = (model.generate(3, steps=4, prefix=prefix, seed=2) for _ in range(2))
    assert drawn.shape == (3, 2, 6, 8)
    assert drawn.isfinite().all()
    torch.testing.assert_close(drawn, again, rtol=0, atol=0)
    kept, _ = model.encoder.patches(drawn)
    torch.testing.assert_close(kept[:, :5], prefix, rtol=0, atol=0)


def test_generation_needs_the_causal_mask() -> None:
    with pytest.raises(UserError, match=r"^causal must be true for generation, got False$"):
        small(causal=False).generate(1)
