"""The encoder as a timm model."""

from itertools import islice
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from timm.models.vision_transformer import init_weights_vit_timm
from torch import Tensor, nn

from darl.model.encoder import SIZES, Encoder
from darl.model.factory import size_of
from darl.model.orders import Order
from darl.model.positions import Position
from darl.variants import require

__all__ = ["TimmEncoder"]


class TimmEncoder(Encoder):
    """The trunk with timm's names for its arguments and timm's methods for fine-tuning and feature maps."""

    def __init__(
        self,
        size: str = "base",
        *,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_path_rate: float = 0.0,
        order: str = "raster",
        position: str = "rope2d",
        causal: bool = False,
    ):
        pools = {"avg": "mean", "token": "last", "": "mean"}
        require(global_pool in pools, "global_pool", "be avg (mean of the patches) or token (the last)", global_pool)
        super().__init__(
            size_of(size, patch_size=patch_size, readout=pools[global_pool]),
            image_size=(img_size, img_size) if isinstance(img_size, int) else img_size,
            channels=in_chans,
            order=Order.parse(order),
            position=Position.parse(position),
            causal=causal,
            drop_path=drop_path_rate,
            num_classes=num_classes,
        )
        self.global_pool = global_pool
        self.num_prefix_tokens = 0
        width, patch = self.size.width, self.size.patch_size
        self.feature_info = [
            {"module": f"blocks.{index}", "num_chs": width, "reduction": patch} for index in range(self.size.depth)
        ]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Class scores (B, num_classes), or the readout (B, W) with `pre_logits`; unpooled for `global_pool=""`."""
        if self.global_pool:
            return super().forward_head(features, pre_logits)
        return features if pre_logits else self.head(features)

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new last linear map for `num_classes` classes, none for 0."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = global_pool
            self.readout = "last" if global_pool == "token" else "mean"
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head.to(self.start_token.device).apply(init_weights_vit_timm)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers for layer-wise learning rates."""
        blocks = [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^start_token|^patch_embed|^position", "blocks": blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of saving their activations."""
        self.grad_checkpointing = enable

    def set_input_size(self, img_size: tuple[int, int] | None = None, patch_size: int | None = None) -> None:
        """Nothing to do: any image size that patches divide is taken."""

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Features after chosen blocks, (B, W, rows, columns) or (B, N, W), in raster order; as timm's ViT."""
        require(output_fmt in ("NCHW", "NLC"), "output_fmt", "be NCHW or NLC", output_fmt)
        taken, last = feature_take_indices(len(self.blocks), indices)
        patches, grid = self.patches(x)
        depth = last + 1 if stop_early else len(self.blocks)
        states = list(islice(self.states(self.embed(patches, grid), grid), depth))
        maps = [self.raster(self.norm(states[index]) if norm else states[index], grid) for index in taken]
        if output_fmt == "NCHW":
            maps = [tokens.transpose(1, 2).unflatten(2, grid) for tokens in maps]
        return maps if intermediates_only else (self.raster(self.norm(states[-1]), grid), maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the blocks behind the last one taken, and the classifier."""
        taken, last = feature_take_indices(len(self.blocks), indices)
        self.blocks = self.blocks[: last + 1]
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return taken


def _from_pretraining(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The encoder's weights of a pretraining checkpoint; an encoder's own weights unchanged."""
    return {name.removeprefix("encoder."): value for name, value in state.items() if not name.startswith("decoder.")}


_INPUT: dict[str, Any] = {
    "url": "",
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": None,
    "crop_pct": 0.9,
    "interpolation": "bicubic",
    "fixed_input_size": False,
    "mean": IMAGENET_DEFAULT_MEAN,
    "std": IMAGENET_DEFAULT_STD,
    "first_conv": "patch_embed.proj",
    "classifier": "head",
}

default_cfgs = generate_default_cfgs(  # timm looks for this name in the module that registers a model
    {f"darl_{name}_patch{size.patch_size}_224.untrained": _INPUT for name, size in SIZES.items()}
)


def _create(name: str, size: str, patch_size: int, pretrained: bool, **options: Any) -> nn.Module:
    options.setdefault("patch_size", patch_size)
    features = {"out_indices": options.pop("out_indices", 3), "feature_cls": "getter"}
    return build_model_with_cfg(
        TimmEncoder,
        name,
        pretrained,
        pretrained_filter_fn=_from_pretraining,
        feature_cfg=features,
        size=size,
        **options,
    )


@register_model
def darl_nano_patch16_224(pretrained: bool = False, **options: Any) -> nn.Module:
    """Width 64, depth 4, 4 heads."""
    return _create("darl_nano_patch16_224", "nano", 16, pretrained, **options)


@register_model
def darl_tiny_patch16_224(pretrained: bool = False, **options: Any) -> nn.Module:
    """Width 192, depth 12, 3 heads."""
    return _create("darl_tiny_patch16_224", "tiny", 16, pretrained, **options)


@register_model
def darl_small_patch16_224(pretrained: bool = False, **options: Any) -> nn.Module:
    """Width 384, depth 12, 6 heads."""
    return _create("darl_small_patch16_224", "small", 16, pretrained, **options)


@register_model
def darl_base_patch16_224(pretrained: bool = False, **options: Any) -> nn.Module:
    """Width 768, depth 12, 12 heads."""
    return _create("darl_base_patch16_224", "base", 16, pretrained, **options)


@register_model
def darl_large_patch16_224(pretrained: bool = False, **options: Any) -> nn.Module:
    """Width 1024, depth 24, 16 heads."""
    return _create("darl_large_patch16_224", "large", 16, pretrained, **options)


@register_model
def darl_huge_patch14_224(pretrained: bool = False, **options: Any) -> nn.Module:
    """Width 1280, depth 32, 16 heads."""
    return _create("darl_huge_patch14_224", "huge", 14, pretrained, **options)
