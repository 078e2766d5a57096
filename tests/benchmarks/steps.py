"""Training steps of our models and of timm's ViT: forward, backward, fused AdamW."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from darl.model.encoder_config import EncoderConfig
from darl.model.patches import patchify
from darl.optim import Optimizer, build_optimizer

__all__ = ["Vit", "our_optimizer", "peer_optimizer", "training_step"]

LEARNING_RATE = 1e-4


class Vit(nn.Module):
    """timm's ViT of the same size, with as many tokens as DARL has in training (one a patch: no class token).

    A linear map per token to its patch's pixels, and their squared error: DARL's MSE without mask, order and rotation.
    """

    def __init__(self, size: EncoderConfig, image_size: int):
        super().__init__()
        self.patch_size = size.patch_size
        self.vit = VisionTransformer(
            img_size=image_size,
            patch_size=size.patch_size,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            num_classes=3 * size.patch_size**2,
            class_token=False,
            global_pool="",
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(self.vit(images), patchify(images, self.patch_size))}


def our_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return build_optimizer(model, Optimizer(), LEARNING_RATE)


def peer_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """timm's own, with the same settings."""
    return create_optimizer_v2(model, "adamw", lr=LEARNING_RATE, weight_decay=0.05, betas=(0.9, 0.95), fused=True)


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, *, bfloat16: bool = False
) -> Callable[[], None]:
    """One step; a diffusion model draws its own gamma and noise in it."""
    autocast = torch.autocast(images.device.type, torch.bfloat16) if bfloat16 else nullcontext()

    def step() -> None:
        with autocast:
            loss = model(images)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
