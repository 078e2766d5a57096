"""Detection: the features' places, the cost, COCO's AP, and shapes found end to end."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from darl.data.dense.coco import CocoData, Target, load_coco
from darl.errors import UserError
from darl.evaluation.dense.base import Setting
from darl.evaluation.dense.detecting.average_precision import average_precision, to_results
from darl.evaluation.dense.detecting.detector import Detector, PyramidEncoder, detector_flops
from darl.evaluation.dense.detection import DetectionProtocol, mirrored_row
from darl.model.encoder_config import EncoderConfig
from darl.optim import Optimizer, build_optimizer
from tests.evaluation.dense.example_dense import experiment, write_coco
from tests.evaluation.example_subjects import CPU

pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra coco)")

SETTING = Setting(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), device=CPU)
SMALL = DetectionProtocol(epochs="1", batch_size="2", channels="16", proposals="16")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> CocoData:
    folder = tmp_path_factory.mktemp("coco")
    write_coco(folder, "train2017", 5, 32)
    write_coco(folder, "val2017", 3, 32, first=1000)
    return load_coco(f"coco:{folder}")


def maps(images: torch.Tensor, *, masked: bool = False, **changes: object) -> torch.Tensor:
    """The encoder's map that the pyramid is given."""
    model = experiment(**changes).build().eval()
    given: list[torch.Tensor] = []
    backbone = PyramidEncoder(model.encoder, 16, masked=masked, frozen=False)
    backbone.pyramid.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    with torch.no_grad():
        backbone(images)
    return given[0]


@pytest.mark.parametrize("order", ["column", "hilbert", "spiral"])
def test_the_map_is_in_raster_order_at_another_image_size(order: str) -> None:
    """Without a causal mask the order of patches changes nothing, if positions and places are right."""
    images = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))  # the model's own size is 32 x 32
    own, raster = maps(images, order=order), maps(images, order="raster")
    assert own.shape == (2, 32, 12, 20)
    torch.testing.assert_close(own, raster, rtol=1e-4, atol=1e-5)


def test_rotary_positions_are_those_of_a_model_made_for_the_size() -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for masked in (False, True):
        larger = maps(images, masked=masked, size=64, order="hilbert")
        torch.testing.assert_close(maps(images, masked=masked, order="hilbert"), larger, rtol=1e-4, atol=1e-5)


def test_under_the_mask_a_patch_reaches_its_own_place_and_later_ones() -> None:
    images = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    changed[:, :, 12:16, 20:24] += 1  # row 3, column 5 of 8 x 12 patches
    moved = (maps(images, masked=True, order="column") - maps(changed, masked=True, order="column")).abs().amax((0, 1))
    later = torch.arange(12).expand(8, 12) * 8 + torch.arange(8)[:, None] >= 5 * 8 + 3  # in the order by columns
    assert (moved > 1e-7).equal(later)


def test_flops_are_those_that_are_counted() -> None:
    model = experiment().build().eval()
    detector = Detector(PyramidEncoder(model.encoder, 16, masked=False, frozen=False), 4, side=32, mean=SETTING.mean,
                        std=SETTING.std, proposals=16, masks=True).eval()  # fmt: skip
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        levels = detector.backbone(torch.randn(1, 3, 32, 32))
        detector.rpn.head([*levels.values()])
        detector.roi_heads.box_head(torch.randn(16, 16, 7, 7))
        detector.roi_heads.box_predictor(torch.randn(16, 64))
        detector.roi_heads.mask_predictor(detector.roi_heads.mask_head(torch.randn(4, 16, 14, 14)))
    counted = detector_flops(model.config, 32, 16, 16, masks=True)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.03)  # but for the last linear maps of the heads


def test_cost_grows_with_epochs_and_size_and_shrinks_for_a_frozen_encoder(shapes: CocoData) -> None:
    config = experiment().build().config
    one, two, frozen, large = (
        each.flops(shapes, config)
        for each in (SMALL, replace(SMALL, epochs="2"), replace(SMALL, frozen=True), replace(SMALL, size=64))
    )
    assert one < two < 2 * one
    assert frozen == pytest.approx(one - 5 * 2 * config.trunk_flops(config.patches))
    assert large > one


def test_learning_rates_decay_from_the_heads_to_the_patches() -> None:
    model = experiment().build()
    detector = Detector(PyramidEncoder(model.encoder, 16, masked=False, frozen=False), 4, side=32, mean=SETTING.mean,
                        std=SETTING.std, proposals=16, masks=True)  # fmt: skip
    optimizer = build_optimizer(detector, Optimizer(weight_decay=0.1), 1e-3, 0.5)
    names = {id(value): name for name, value in detector.named_parameters()}
    scales = {names[id(value)]: group["lr_scale"] for group in optimizer.param_groups for value in group["params"]}
    assert len(scales) == len(names)
    encoder = "backbone.encoder."
    expected = {"start_token": 0.125, "patch_embed.proj.weight": 0.125, "blocks.0.attn.qkv.weight": 0.25,
                "blocks.1.attn.qkv.weight": 0.5, "norm.weight": 1.0}  # fmt: skip
    assert {name: scales[encoder + name] for name in expected} == expected
    assert {scale for name, scale in scales.items() if not name.startswith(encoder)} == {1.0}


def test_usual_settings_suit_the_model_and_the_images() -> None:
    small = experiment().build().config
    assert DetectionProtocol().recipe(small).channels == 32
    assert DetectionProtocol(size=128).recipe(small) == replace(
        DetectionProtocol(size=128).recipe(small), epochs=50, batch_size=16, channels=256, layer_decay=0.7
    )
    own = DetectionProtocol(epochs="3", layer_decay="0.5").recipe(small)
    assert (own.epochs, own.layer_decay, own.batch_size) == (3, 0.5, 4)
    for texts, message in (
        ({"epochs": "0"}, r"^protocol\.epochs must be positive, got 0"),
        ({"learning_rate": "x"}, r"^protocol\.learning_rate must be a number, got 'x'"),
        ({"layer_decay": "2"}, r"^protocol\.layer_decay must be in \(0, 1\], got 2"),
    ):
        with pytest.raises(UserError, match=message):
            DetectionProtocol(**texts)


def test_mirroring_moves_boxes_and_masks_with_the_pixels(shapes: CocoData) -> None:
    split = shapes.train
    image = torch.from_numpy(split.pixels(0, 3).copy())
    target = split.target(0, [*shapes.categories], masks=True)
    turned, mirrored = mirrored_row(image, target)
    assert torch.equal(turned.flip(2), image)
    assert mirrored.masks is not None
    for box, mask in zip(mirrored.boxes, mirrored.masks, strict=True):
        rows, columns = mask.nonzero().unbind(1)
        inside = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        assert (box - inside).abs().max() <= 1.5
    again, back = mirrored_row(turned, mirrored)
    assert torch.equal(again, image)
    assert all(torch.equal(*pair) for pair in zip(back, target, strict=True))  # type: ignore[arg-type]


def test_ap_is_one_for_the_truth_and_less_for_what_is_beside_it(shapes: CocoData) -> None:
    split, categories = shapes.validation, [*shapes.categories]

    def found(shift: float) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        for row, record in enumerate(split.records):
            target: Target = split.target(row, categories, masks=True)
            assert target.masks is not None
            output = {"boxes": target.boxes + shift, "labels": target.labels, "masks": target.masks[:, None].float(),
                      "scores": torch.ones(len(target.labels))}  # fmt: skip
            results += to_results(output, record["id"], categories)
        return results

    assert average_precision(shapes, found(0.0), "bbox") == pytest.approx(1.0)
    assert (average_precision(shapes, found(0.0), "segm") or 0) > 0.9
    boxes = torch.cat([split.target(row, categories, masks=False).boxes for row in range(len(split))])
    sides = boxes[:, 2:] - boxes[:, :2]
    overlap = (sides - 1.5).prod(1)
    ious = (overlap / (2 * sides.prod(1) - overlap)).numpy()
    # every object is found or not at each of the ten thresholds; classes have equal weight
    labels = np.concatenate([split.target(row, categories, masks=False).labels.numpy() for row in range(len(split))])
    expected = [np.mean([(ious[labels == label] >= threshold).mean() for label in np.unique(labels)])
                for threshold in np.linspace(0.5, 0.95, 10)]  # fmt: skip
    assert average_precision(shapes, found(1.5), "bbox") == pytest.approx(np.mean(expected), abs=0.02)
    assert average_precision(shapes, [], "bbox") == 0.0


@pytest.mark.parametrize("frozen", [False, True])
def test_a_measurement_is_repeatable_and_leaves_the_model(shapes: CocoData, frozen: bool) -> None:
    model = experiment().build()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    protocol = replace(SMALL, frozen=frozen)
    metrics = protocol.measure(model, shapes, SETTING)
    assert set(metrics) == {"detection_box_ap", "detection_mask_ap"}
    assert metrics == protocol.measure(model, shapes, SETTING)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_patches_that_torchvisions_heads_cannot_have_are_refused(shapes: CocoData) -> None:
    model = experiment(image_size=24, model=EncoderConfig(width=32, depth=1, heads=2, patch_size=6)).build()
    with pytest.raises(UserError, match=r"^model\.patch_size must be a power of two of at least 4 for detec"):
        SMALL.measure(model, shapes, SETTING)


@pytest.mark.gpu
def test_a_gpu_takes_all_steps(shapes: CocoData) -> None:
    model = experiment().build()
    metrics = SMALL.measure(model.cuda(), shapes, replace(SETTING, device=torch.device("cuda")))
    assert all(0 <= float(value or 0) <= 1 for value in metrics.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_small_model_finds_coloured_shapes(tmp_path: Path) -> None:
    """Box AP above 0.5 within minutes on one core."""
    write_coco(tmp_path, "train2017", 60, 64)
    write_coco(tmp_path, "val2017", 20, 64, first=1000)
    data = load_coco(f"coco:{tmp_path}")
    model = experiment(64, model=EncoderConfig(width=64, depth=2, heads=2, patch_size=8)).build()
    metrics = DetectionProtocol().measure(model, data, SETTING)
    assert float(metrics["detection_box_ap"] or 0) > 0.5
    assert float(metrics["detection_mask_ap"] or 0) > 0.5
