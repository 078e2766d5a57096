"""timm creates darl's encoders by name, and they work like any ViT of timm's."""

import subprocess
import sys

import pytest
import timm
import torch

import darl
from darl.errors import UserError
from darl.model.encoder_config import SIZES

NAMES = [f"darl_{name}_patch{size.patch_size}_224" for name, size in SIZES.items()]


FIRST_IMPORTS = (
    "import darl, timm; darl.create_model; import darl.model.encoder",
    "import timm, darl; darl.create_model; import darl.model.encoder",
    "import darl, darl.model.encoder, timm",  # timm is imported while darl's own modules are
)
IN_FRESH_PROCESSES = f"""
import os, sys
import torch  # once for all of them: it takes longer than what follows
for imports in {FIRST_IMPORTS}:
    if os.fork() == 0:
        exec(imports)
        assert not [name for name in {NAMES} if not timm.is_model(name)], imports
        os._exit(0)
    if os.wait()[1]:
        sys.exit(imports)
"""


def test_names_are_registered_whichever_package_is_imported_first() -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-c", IN_FRESH_PROCESSES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_size_has_a_name() -> None:
    assert set(NAMES) <= set(timm.list_models("darl_*"))
    for name in NAMES:
        assert timm.get_pretrained_cfg(name).input_size == (3, 224, 224)
        assert timm.models.model_entrypoint(name).__doc__.startswith("Width")


def test_an_encoder_classifies_and_gives_features() -> None:
    encoder = timm.create_model("darl_nano_patch16_224", num_classes=10, img_size=32, patch_size=8).eval()
    images = torch.randn(2, 3, 32, 32)
    assert encoder(images).shape == (2, 10)
    last, maps = encoder.forward_intermediates(images, indices=[0, -1])
    assert [tuple(features.shape) for features in maps] == [(2, 64, 4, 4)] * 2
    torch.testing.assert_close(last, encoder.forward_features(images))
    assert len(encoder.forward_intermediates(images, indices=3, intermediates_only=True)) == 3
    with pytest.raises(
        UserError, match=r"^indices of blocks must be at most 4 last ones, or between -4 and 3, got \[4\]"
    ):
        encoder.forward_intermediates(images, indices=[4])
    assert encoder.prune_intermediate_layers([1], prune_norm=True) == [1]
    assert len(encoder.blocks) == 2
    backbone = timm.create_model("darl_nano_patch16_224", features_only=True)
    assert [tuple(features.shape) for features in backbone(torch.randn(1, 3, 224, 224))] == [(1, 64, 14, 14)] * 3


def test_poolings_that_it_does_not_have_are_refused_wherever_they_are_given() -> None:
    encoder = timm.create_model("darl_nano_patch16_224", num_classes=10, img_size=32, patch_size=8)
    message = r"^global_pool must be avg \(mean of the patches\) or token \(the last\), got 'max'$"
    with pytest.raises(UserError, match=message):
        timm.create_model("darl_nano_patch16_224", global_pool="max")
    with pytest.raises(UserError, match=message):
        encoder.reset_classifier(5, global_pool="max")
    assert (encoder.num_classes, encoder.global_pool, encoder.readout) == (10, "avg", "mean")
    encoder.reset_classifier(5, global_pool="token")
    assert (encoder.num_classes, encoder.global_pool, encoder.readout) == (5, "token", "last")


def test_any_image_size_is_set_but_no_other_patch_size() -> None:
    encoder = timm.create_model("darl_nano_patch16_224", num_classes=10)
    encoder.set_input_size((64, 32))
    encoder.set_input_size((64, 32), patch_size=16)
    encoder.set_input_size(patch_size=(16, 16))
    assert encoder(torch.randn(2, 3, 64, 32)).shape == (2, 10)
    with pytest.raises(UserError, match=r"^patch_size must stay 16, the model's own, got 8$"):
        encoder.set_input_size(patch_size=8)


def test_checkpointed_gradients_are_the_same() -> None:
    encoder = timm.create_model("darl_nano_patch16_224", num_classes=3, img_size=32, patch_size=8)
    images, gradients = torch.randn(2, 3, 32, 32), []
    for enable in (False, True):
        encoder.set_grad_checkpointing(enable)
        encoder.zero_grad()
        encoder(images).square().sum().backward()
        gradients.append(encoder.patch_embed.proj.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_a_pretraining_checkpoint_fits_the_encoder_of_its_size() -> None:
    from darl.model.weights import encoder_weights

    pretrained = darl.create_model(SIZES["nano"], image_size=32, patch_size=8)
    encoder = timm.create_model("darl_nano_patch16_224", num_classes=0, img_size=32, patch_size=8, causal=True)
    encoder.load_state_dict(encoder_weights(pretrained.state_dict(), encoder))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder(images), pretrained.forward_head(pretrained.forward_features(images)))
