"""The encoder with timm's interface: its names for arguments, and its methods. Created by `darl.model.timm_models`."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import init_weights_vit_timm
from torch import Tensor, nn
from torch.fx import Proxy, wrap

from darl.model.encoder_config import EncoderConfig, TrunkConfig, size_of
from darl.model.feature_maps import FeatureMaps
from darl.model.orders import Order
from darl.model.patches import Grid, grid_of
from darl.model.positions import Encoding, LearnedTable, Position
from darl.model.timm_arguments import pair, readout, require_rates, side
from darl.model.token_embed import TokenEmbed
from darl.model.tokenizers.base import Tokenizer
from darl.model.traced import kept_patches, patches_in_order, taken
from darl.model.weights import accept_pretraining
from darl.variants import require

__all__ = ["TimmEncoder"]

for _name in ("kept_patches", "patches_in_order", "taken"):  # FX calls these as they are
    wrap(_name)


class TimmEncoder(FeatureMaps):
    """The encoder with timm's names for its arguments and timm's methods for fine-tuning and feature maps.

    Images of every size that the patch size divides are taken; `torch.jit.script` and `torch.fx` give modules that take
    images of the model's own size, as they do of timm's ViT.

    Args:
        size: name or widths.
        img_size: pixels, or (height, width): the own image size, which learned positions are made for.
        patch_size: pixels of a square patch's side.
        in_chans: channels of the images.
        num_classes: outputs of the classifier; 0 for none.
        global_pool: `avg` (mean of the patches), `token` (the last patch in the order) or empty (unpooled).
        drop_rate: dropout before the classifier.
        patch_drop_rate: share of the patches that are left out in training, drawn for each image, 0 for none.
        proj_drop_rate: dropout after the attention's and inside the MLP's projections.
        attn_drop_rate: dropout of the attention weights.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0 for the first.
        dynamic_img_size: whether images of other sizes than `img_size` are taken.
        qk_norm: whether the blocks normalise queries and keys.
        init_values: initial value of LayerScale, None for none.
        swiglu_mlp: whether the MLPs have SwiGLU, with two thirds of the hidden width, as timm's `eva02` models.
        device: where the parameters are made, also `meta`.
        dtype: the parameters' floating-point type.
        order: the patch order, as text.
        position: the position encoding, as text.
        causal: whether a patch reads only itself and those before it in the order.
        tokenizer: as text, the tokenizer whose tokens are read in the place of patches; None to read patches.

    Raises UserError.

    """

    def __init__(
        self,
        size: str | EncoderConfig = "base",
        *,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        patch_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        dynamic_img_size: bool = True,
        qk_norm: bool = False,
        init_values: float | None = None,
        swiglu_mlp: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        order: str = "raster",
        position: str = "rope2d",
        causal: bool = False,
        tokenizer: str | None = None,
    ):
        require_rates(drop_rate=drop_rate, patch_drop_rate=patch_drop_rate, proj_drop_rate=proj_drop_rate,
                       attn_drop_rate=attn_drop_rate, drop_path_rate=drop_path_rate)  # fmt: skip
        require(dtype is None or dtype.is_floating_point, "dtype", "be a floating-point type", dtype)
        chosen = size_of(size) if isinstance(size, str) else size
        config = TrunkConfig(
            size=replace(
                chosen,
                patch_size=side(patch_size),
                readout=readout(global_pool),
                qk_norm=qk_norm or chosen.qk_norm,
                init_values=chosen.init_values if init_values is None else init_values,
                swiglu=swiglu_mlp or chosen.swiglu,
            ),
            image_size=pair(img_size),
            channels=in_chans,
            order=Order.parse(order),
            position=Position.parse(position),
            causal=causal,
            tokenizer=None if tokenizer is None else Tokenizer.parse(tokenizer),
            token_input=None if tokenizer is None else True,
        )
        rates = {"drop_path": drop_path_rate, "attn_drop": attn_drop_rate, "proj_drop": proj_drop_rate}
        with nullcontext() if device is None else torch.device(device):
            super().__init__(config, num_classes=num_classes, **rates)
        self.patch_drop_rate, self.head_drop = patch_drop_rate, nn.Dropout(drop_rate)
        self._require_readable(global_pool)
        self.global_pool = global_pool
        self.num_prefix_tokens = 0
        none = type(self.position).additive is Encoding.additive
        self.keeps_additive = none or self.position.fixed or isinstance(self.position, LearnedTable)
        self.in_chans, self.patch = in_chans, self.size.patch_size
        self.dynamic_img_size = dynamic_img_size
        self.patch_embed.strict_img_size = not dynamic_img_size  # timm tells from it whether the size is fixed
        if dtype is not None:
            self.to(dtype)
        width, patch = self.size.width, self.size.patch_size
        accept_pretraining(self)
        self.feature_info = [
            {"module": f"blocks.{index}", "num_chs": width, "reduction": patch} for index in range(self.size.depth)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (B, num_classes), or the features, pooled or not, where there is no classifier."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """One feature vector for each patch (B, N, W), in raster order; in training fewer with `patch_drop_rate`.

        This is `Encoder.forward_features` once more, in words that TorchScript compiles and FX traces.
        """
        if torch.jit.is_scripting():
            grid, order, inverse, rotation, additive = self._own_tables()
        else:
            grid, order, inverse, rotation, additive = self._tables(x)
        patches = patches_in_order(x, grid, self.patch, order)
        if torch.jit.is_scripting():  # of patches: a tokenizer is not compiled
            tokens = F.linear(patches, self.patch_embed.proj.weight.flatten(1), self.patch_embed.proj.bias)
        else:
            tokens = self._vectors(patches)
        if additive is not None:
            tokens = tokens + additive.type_as(tokens)[order]
        if self.training and self.patch_drop_rate > 0:
            kept = kept_patches(tokens, self.patch_drop_rate)
            tokens, inverse = taken(tokens, kept), order[kept].argsort(dim=1)
            if rotation is not None:
                rotation = rotation[F.pad(kept + 1, [1, 0])]
        start = self.start_token.expand(x.shape[0], -1, -1).to(tokens.dtype)
        tokens = torch.cat([start, tokens], dim=1)
        for block in self.blocks:
            if not torch.jit.is_scripting() and self.grad_checkpointing and self.training:
                tokens = self._run(block, tokens, rotation, self.reading.causal, None)
            else:
                tokens = block(tokens, rotation, self.reading.causal)
        return taken(self.norm(tokens)[:, 1:], inverse)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Class scores (B, num_classes), or the readout (B, W) with `pre_logits`; unpooled for `global_pool=""`."""
        if self.global_pool == "avg":
            x = x.mean(dim=1)
        elif self.global_pool == "token":
            if torch.jit.is_scripting():
                x = x.index_select(1, self.order[-1:]).squeeze(1)
            else:
                last = self.order[-1:] if isinstance(x, Proxy) else self._last(int(x.shape[1]))
                x = x.index_select(1, last).squeeze(1)
        x = self.head_drop(x)
        return x if pre_logits else self.head(x)

    def _vectors(self, patches: Tensor) -> Tensor:
        """`Encoder.project`, of patches in words that FX traces."""
        if self.tokenizer is not None:
            return self.project(patches)
        return F.linear(patches, self.patch_embed.proj.weight.flatten(1), self.patch_embed.proj.bias)

    def _own_tables(self) -> tuple[tuple[int, int], Tensor, Tensor, Tensor | None, Tensor | None]:
        """`_tables` of the own grid, for TorchScript."""
        return self.grid, self.order, self.inverse, self.reading.rotation, self._own_additive()

    def _own_additive(self) -> Tensor | None:
        if not self.keeps_additive:
            raise ValueError("TorchScript does not know the vectors of this position encoding")
        if hasattr(self.position, "table"):
            return self.position.table[0]  # pyright: ignore[reportIndexIssue]
        return self.additive

    @torch.jit.unused
    def _tables(self, x: Tensor) -> tuple[tuple[int, int], Tensor, Tensor, Tensor | None, Tensor | None]:
        """Grid of the images, patch order and its inverse, rotary table, additive positions in raster order.

        FX traces without numbers: the traced module is for images of the own size.
        """
        height, width = self.grid[0] * self.patch, self.grid[1] * self.patch
        if not isinstance(x, Proxy):
            height, width = int(x.shape[2]), int(x.shape[3])
        grid = self._grid_of(height, width)
        if grid == self.grid:
            additive = self._own_additive() if self.keeps_additive else self.position.additive(grid)
            return grid, self.order, self.inverse, self.reading.rotation, additive
        order, inverse = (table.to(x.device) for table in self._permutation(grid))
        rotation = self._rotary_table(grid)
        return grid, order, inverse, None if rotation is None else rotation.to(x.device), self.position.additive(grid)

    def patches(self, images: Tensor) -> tuple[Tensor, Grid]:
        """As `Encoder.patches`, of images of a size that is taken."""
        self._grid_of(images.shape[2], images.shape[3])
        return super().patches(images)

    def _grid_of(self, height: int, width: int) -> Grid:
        grid = grid_of((height, width), self.patch)
        is_taken = self.dynamic_img_size or grid == self.grid
        own = (self.grid[0] * self.patch, self.grid[1] * self.patch)
        require(is_taken, "images", f"be {own} pixels, since dynamic_img_size is False", (height, width))
        return grid

    def settings(self) -> dict[str, Any]:
        """The arguments that weights decide, as they are now."""
        return {
            "patch_size": self.patch,
            "in_chans": self.in_chans,
            "global_pool": self.global_pool,
            **self.size.parts,
            "order": str(self.patch_order),
            "position": str(self.encoding),
            "causal": self.causal,
            **({"tokenizer": str(self.patch_embed.config)} if isinstance(self.patch_embed, TokenEmbed) else {}),
        }

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one for `num_classes` classes; 0 removes it. Raises UserError."""
        if global_pool is not None:
            self._require_readable(global_pool)
            self.readout = readout(global_pool)
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head.to(self.start_token).apply(init_weights_vit_timm).train(self.training)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that assign parameters to layers, for layer-wise learning rates; as in timm's ViT."""
        blocks = [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^start_token|^patch_embed|^position", "blocks": blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of saving their activations."""
        self.grad_checkpointing = enable

    def set_input_size(
        self, img_size: int | tuple[int, int] | None = None, patch_size: int | tuple[int, int] | None = None
    ) -> None:
        """Make `img_size` the model's own: learned positions are resampled (every other size is still accepted).

        Raises UserError where the patch size does not divide it, and for another patch size than the model's.
        """
        require(
            patch_size in (None, self.patch, (self.patch, self.patch)),
            "patch_size",
            f"stay {self.patch}, the model's own",
            patch_size,
        )
        if img_size is None:
            return
        pixels = pair(img_size)
        self.grid = grid_of(pixels, self.patch)
        self.position.resize(self.grid)
        self.patch_embed.set_input_size(pixels)
        self.build_tables()
        self._traits = {**getattr(self, "_traits", {}), "img_size": pixels}  # from which timm saves the model

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

    def _require_readable(self, global_pool: str) -> None:
        remedy = "be 0 for global_pool token, which reads the last patch: it may be left out"
        require(global_pool != "token" or not self.patch_drop_rate, "patch_drop_rate", remedy, self.patch_drop_rate)
