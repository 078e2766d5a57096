"""The encoder with timm's interface: its names for arguments, and its methods. Created by `darl.model.timm_models`."""

from dataclasses import replace
from itertools import islice
from typing import Any

from timm.models.vision_transformer import init_weights_vit_timm
from torch import Tensor, nn

from darl.model.encoder import Encoder
from darl.model.encoder_config import EncoderConfig, TrunkConfig, size_of
from darl.model.orders import Order
from darl.model.positions import Position
from darl.model.weights import encoder_weights
from darl.variants import require

__all__ = ["TimmEncoder", "accept_pretraining"]

_READOUTS = {"avg": "mean", "token": "last", "": "mean"}
"""The readout of each `global_pool` of timm's that the encoder has."""


class TimmEncoder(Encoder):
    """The encoder with timm's names for its arguments and timm's methods for fine-tuning and feature maps."""

    def __init__(
        self,
        size: str | EncoderConfig = "base",
        *,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_path_rate: float = 0.0,
        order: str = "raster",
        position: str = "rope2d",
        causal: bool = False,
    ):
        chosen = size_of(size) if isinstance(size, str) else size
        config = TrunkConfig(
            size=replace(chosen, patch_size=_side(patch_size), readout=_readout(global_pool)),
            image_size=(img_size, img_size) if isinstance(img_size, int) else tuple(img_size),
            channels=in_chans,
            order=Order.parse(order),
            position=Position.parse(position),
            causal=causal,
        )
        super().__init__(config, drop_path=drop_path_rate, num_classes=num_classes)
        self.global_pool = global_pool
        self.num_prefix_tokens = 0
        width, patch = self.size.width, self.size.patch_size
        accept_pretraining(self)
        self.feature_info = [
            {"module": f"blocks.{index}", "num_chs": width, "reduction": patch} for index in range(self.size.depth)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (B, num_classes), or the features, pooled or not, where there is no classifier."""
        return self.forward_head(self.forward_features(x))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Class scores (B, num_classes), or the readout (B, W) with `pre_logits`; unpooled for `global_pool=""`."""
        if self.global_pool:
            return super().forward_head(features, pre_logits)
        return features if pre_logits else self.head(features)

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one for `num_classes` classes; 0 removes it. Raises UserError."""
        if global_pool is not None:
            self.readout = _readout(global_pool)
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head.to(self.start_token.device).apply(init_weights_vit_timm)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that assign parameters to layers, for layer-wise learning rates; as in timm's ViT."""
        blocks = [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^start_token|^patch_embed|^position", "blocks": blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of saving their activations."""
        self.grad_checkpointing = enable

    def set_input_size(
        self, img_size: tuple[int, int] | None = None, patch_size: int | tuple[int, int] | None = None
    ) -> None:
        """Changes nothing: every image size that the patch size divides is accepted as it is.

        Raises UserError for another patch size than the model's.
        """
        own = self.size.patch_size
        require(patch_size in (None, own, (own, own)), "patch_size", f"stay {own}, the model's own", patch_size)

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
        """Features after chosen blocks, (B, W, rows, columns) or (B, N, W), in raster order; like timm's ViT."""
        require(output_fmt in ("NCHW", "NLC"), "output_fmt", "be NCHW or NLC", output_fmt)
        taken = self._taken(indices)
        patches, grid = self.patches(x)
        depth = max(taken) + 1 if stop_early else len(self.blocks)
        states = list(islice(self.states(self.embed(patches, grid), grid), depth))
        maps = [self.raster(self.norm(states[index]) if norm else states[index], grid) for index in taken]
        if output_fmt == "NCHW":
            maps = [tokens.transpose(1, 2).unflatten(2, grid) for tokens in maps]
        return maps if intermediates_only else (self.raster(self.norm(states[-1]), grid), maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the blocks after the last chosen one, and the classifier; returns the indices of the chosen blocks."""
        taken = self._taken(indices)
        self.blocks = self.blocks[: max(taken) + 1]
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return taken

    def _taken(self, indices: int | list[int] | None) -> list[int]:
        """Indices of blocks by timm's convention: all for None, the last n for an integer n, else those listed.

        A negative index counts from the last block. timm's own function for this is private.
        """
        every = range(len(self.blocks))
        if indices is None:
            return list(every)
        names = "indices of blocks"
        remedy = f"be at most {len(every)} last ones, or between {-len(every)} and {len(every) - 1}"
        if isinstance(indices, int):
            require(0 < indices <= len(every), names, remedy, indices)
            return list(every[-indices:])
        require(all(-len(every) <= index < len(every) for index in indices), names, remedy, indices)
        return [every[index] for index in indices]


def accept_pretraining(model: nn.Module) -> nn.Module:
    """The model, whose `load_state_dict` takes a pretraining run's weights too.

    model: a TimmEncoder, or a module of timm's that holds one as `model` to give its feature maps.
    """
    if isinstance(model, TimmEncoder) or isinstance(getattr(model, "model", None), TimmEncoder):
        model.register_load_state_dict_pre_hook(_translate)
    return model


def _translate(model: Any, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Bring weights into the encoder's names and shapes, in place, before `model` loads them."""
    encoder, inner = (model, prefix) if isinstance(model, TimmEncoder) else (model.model, f"{prefix}model.")
    found = "" if not prefix and "encoder.start_token" in state else inner
    own = {name.removeprefix(found): state.pop(name) for name in list(state) if name.startswith(found)}
    state.update({f"{inner}{name}": value for name, value in encoder_weights(own, encoder).items()})


def _side(patch_size: int | tuple[int, int]) -> int:
    """The side of a square patch; raises UserError for any other patch."""
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    require(height == width, "patch_size", "be square", patch_size)
    return height


def _readout(global_pool: str) -> str:
    """The readout of timm's `global_pool`; raises UserError for a pooling that the encoder does not have."""
    require(global_pool in _READOUTS, "global_pool", "be avg (mean of the patches) or token (the last)", global_pool)
    return _READOUTS[global_pool]
