"""ViTDet's feature pyramid, written out a second time from detectron2's `SimpleFeaturePyramid`."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darl.model.simple_pyramid import SCALES, SimplePyramid


def norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """detectron2's LayerNorm: over the channels of every place, with eps 1e-6."""
    mean = x.mean(1, keepdim=True)
    x = (x - mean) / (((x - mean) ** 2).mean(1, keepdim=True) + 1e-6).sqrt()
    return weights[f"{name}.weight"][:, None, None] * x + weights[f"{name}.bias"][:, None, None]


def enlarge(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """A deconvolution whose kernels do not overlap: each place becomes 2 x 2 places of its own."""
    parts = torch.einsum("bihw,ioyx->bohywx", x, weights[f"{name}.weight"])
    return parts.reshape(len(x), -1, 2 * x.shape[2], 2 * x.shape[3]) + weights[f"{name}.bias"][:, None, None]


def test_maps_are_those_of_the_published_pyramid() -> None:
    torch.manual_seed(0)
    pyramid = SimplePyramid(16, 12)
    with torch.no_grad():
        for parameter in pyramid.parameters():
            parameter.copy_(torch.randn_like(parameter))
    maps, weights = torch.randn(2, 16, 4, 6), dict(pyramid.named_parameters())
    quarter = F.gelu(norm(enlarge(maps, weights, "stages.0.0"), weights, "stages.0.1"))
    sized = [
        (enlarge(quarter, weights, "stages.0.3"), 4),
        (enlarge(maps, weights, "stages.1.0"), 1),
        (maps, 0),
        (maps.unflatten(2, (2, 2)).unflatten(4, (3, 2)).amax((3, 5)), 1),
    ]
    for level, (own, (x, first)) in enumerate(zip(pyramid(maps), sized, strict=True)):
        name = f"stages.{level}"
        x = norm(torch.einsum("bihw,oi->bohw", x, weights[f"{name}.{first}.weight"][:, :, 0, 0]), weights,
                 f"{name}.{first + 1}")  # fmt: skip
        x = norm(F.conv2d(x, weights[f"{name}.{first + 2}.weight"], padding=1), weights, f"{name}.{first + 3}")
        torch.testing.assert_close(own, x, rtol=1e-4, atol=1e-4)
        assert own.shape == (2, 12, int(4 * SCALES[level]), int(6 * SCALES[level]))


@pytest.mark.parametrize("name", ["stages.0.4", "stages.2.0"])
def test_convolutions_before_a_norm_have_no_bias(name: str) -> None:
    assert SimplePyramid(16, 12).get_submodule(name).bias is None
