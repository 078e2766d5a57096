"""Linear segmentation, against scikit-learn on the same features."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, jaccard_score
from torch import Tensor

from darl.data.dense.segmentation import SegmentationData, load_segmentation
from darl.errors import UserError
from darl.evaluation.dense import segmentation as module
from darl.evaluation.dense.base import Setting
from darl.evaluation.dense.segmentation import SegmentationProtocol
from darl.evaluation.dense.segmenting.feature_maps import MaskedMaps
from darl.evaluation.dense.segmenting.linear_head import LinearHead, count_pixels, fit_heads
from darl.evaluation.dense.segmenting.mean_iou import confusion, mean_iou
from tests.evaluation.dense.example_dense import experiment, write_masks
from tests.evaluation.example_subjects import CPU

SETTING = Setting(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), device=CPU)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> SegmentationData:
    folder = tmp_path_factory.mktemp("shapes")
    write_masks(folder / "train", 40, 32)
    write_masks(folder / "val", 10, 32, first=1000)
    return load_segmentation(str(folder))


def test_mean_iou_is_scikit_learns_with_ignored_pixels_and_absent_classes() -> None:
    random = np.random.default_rng(0)
    true, predicted = random.integers(0, 6, 5000), random.integers(0, 6, 5000)
    true[true == 4] = 255
    predicted[predicted == 5] = 0  # class 5 is in the masks only, class 4 is predicted only, class 6 is in neither
    counted = true != 255
    matrix = confusion(torch.from_numpy(predicted[:2000]), torch.from_numpy(true[:2000]), 7)
    matrix += confusion(torch.from_numpy(predicted[2000:]), torch.from_numpy(true[2000:]), 7)
    peer = confusion_matrix(true[counted], predicted[counted], labels=range(7))
    assert np.array_equal(matrix.numpy(), peer)
    score = jaccard_score(true[counted], predicted[counted], average="macro")
    assert mean_iou(matrix) == pytest.approx(score, abs=1e-12)


def test_a_head_agrees_with_logistic_regression_on_the_same_patches() -> None:
    """With masks of one pixel a patch nothing is enlarged, and the head is multinomial logistic regression."""
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 12, generator=random)
    true = torch.randint(0, 4, (60, 6, 6), generator=random)
    maps = (centres[true] + 1.5 * torch.randn(60, 6, 6, 12, generator=random)).permute(0, 3, 1, 2).contiguous()
    true[torch.rand(true.shape, generator=random) < 0.1] = 255
    train = [(maps[row : row + 10], list(true[row : row + 10])) for row in range(0, 40, 10)]
    (head,) = fit_heads(lambda _: iter(train), 12, 4, epochs=60, steps=4, rates=[0.03], device=CPU)
    (matrix,) = count_pixels([head], [(maps[40:], list(true[40:]))], 4)
    x, y = maps.permute(0, 2, 3, 1), true
    kept, tested = y[:40] != 255, y[40:] != 255
    peer = LogisticRegression(C=1e3, max_iter=1000).fit(x[:40][kept].numpy(), y[:40][kept].numpy())
    found = peer.predict(x[40:][tested].numpy())
    assert mean_iou(matrix) == pytest.approx(jaccard_score(y[40:][tested], found, average="macro"), abs=0.01)


def test_logits_are_enlarged_to_each_mask() -> None:
    """A head that copies its two channels, whose map tells left from right: the border is in the masks' middle."""
    head = LinearHead(2, 2).eval()
    with torch.no_grad():
        head.linear.weight.copy_(torch.eye(2)[:, :, None, None])
    maps = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[None, :, None, :].expand(2, 2, 3, 2)
    masks = [torch.arange(width).expand(height, width).ge(width // 2).long() for height, width in ((9, 16), (5, 30))]
    (matrix,) = count_pixels([head], [(maps, masks)], 2)
    assert matrix.tolist() == [[9 * 8 + 5 * 15, 0], [0, 9 * 8 + 5 * 15]]


@pytest.mark.parametrize("order", ["column", "hilbert"])
def test_a_trained_head_finds_the_shapes_in_any_order_of_patches(shapes: SegmentationData, order: str) -> None:
    model = experiment(order=order).build()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    protocol = SegmentationProtocol(epochs=20, block="1", mask="removed")
    metrics = protocol.measure(model, shapes, SETTING)
    assert metrics == protocol.measure(model, shapes, SETTING)
    assert 0.55 < float(metrics["segmentation_miou"] or 0) < 1
    assert str(metrics["segmentation_readout"]).startswith("block 1, learning rate ")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_patches_out_of_their_places_are_noticed(shapes: SegmentationData) -> None:
    """The proof of the test before: features in the order of prediction, not in raster order, find much less."""
    model = experiment(order="column").build()
    encoder, protocol = model.encoder, SegmentationProtocol(epochs=20, block="1", mask="removed")
    encoder.raster = lambda tokens, grid: tokens[:, 1:]  # type: ignore[method-assign]
    assert float(protocol.measure(model, shapes, SETTING)["segmentation_miou"] or 0) < 0.5


def test_the_best_block_and_the_pixels(shapes: SegmentationData) -> None:
    model, protocol = experiment().build(), SegmentationProtocol(epochs=4, block="best")
    single = [replace(protocol, block=block).measure(model, shapes, SETTING) for block in ("1", "2")]
    assert protocol.measure(model, shapes, SETTING) in single
    pixels = protocol.yardsticks(model, shapes, SETTING)
    assert list(pixels) == ["pixels_segmentation_miou"]
    assert protocol.yardsticks(experiment(seed=1).build(), shapes, SETTING) == pixels


def test_maps_that_are_not_kept_are_the_same(shapes: SegmentationData) -> None:
    model = experiment().build().eval()

    def batches(memory: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
        maps = MaskedMaps(shapes.train, model.forward_features, 48, model.config, SETTING, memory)
        yield from maps.chosen(torch.tensor([5, 3, 8, 1, 0]), 2)  # type: ignore[misc]

    for (maps, masks), (others, others_masks) in zip(batches(2**30), batches(0), strict=True):
        assert maps.shape[1:] == (32, 12, 12)  # images of 48 pixels for a model of 32
        torch.testing.assert_close(maps, others, rtol=1e-4, atol=1e-5)
        assert all(torch.equal(*pair) for pair in zip(masks, others_masks, strict=True))


def test_options_and_cost(shapes: SegmentationData, monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment().build().config
    plain = SegmentationProtocol()
    costs = [each.flops(shapes, config) for each in (plain, replace(plain, epochs=60), replace(plain, size=64))]
    assert costs[0] < costs[1] < 2 * costs[0] + 1
    assert costs[2] > 4 * costs[0]
    monkeypatch.setattr(module, "MEMORY", 0)
    encoder = config.trunk_flops(config.patches)
    assert plain.flops(shapes, config) == pytest.approx(costs[0] + plain.epochs * 40 * encoder)
    model = experiment().build()
    for protocol, message in (
        (replace(plain, block="3"), r"^protocol\.block must be in 1 to 2, best or last, got '3'"),
        (replace(plain, size=30), r"^protocol\.size must be a multiple of the patch size 4, got 30"),
    ):
        with pytest.raises(UserError, match=message):
            protocol.measure(model, shapes, SETTING)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(shapes: SegmentationData) -> None:
    protocol = SegmentationProtocol(epochs=20, block="1", mask="removed")
    model = experiment().build()
    cpu = protocol.measure(model, shapes, SETTING)
    gpu = protocol.measure(model.cuda(), shapes, replace(SETTING, device=torch.device("cuda")))
    assert gpu["segmentation_miou"] == pytest.approx(cpu["segmentation_miou"], abs=0.03)
