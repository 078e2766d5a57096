"""The encoder with timm's methods that give the features after chosen blocks."""

from itertools import islice

from torch import Tensor

from darl.model.encoder import Encoder
from darl.variants import require

__all__ = ["FeatureMaps"]


class FeatureMaps(Encoder):
    """The encoder, whose blocks' outputs can be had as maps or as tokens, always of all patches in raster order."""

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

    def get_intermediate_layers(
        self,
        x: Tensor,
        n: int | list[int] = 1,
        reshape: bool = False,
        return_prefix_tokens: bool = False,
        norm: bool = False,
    ) -> list[Tensor]:
        """Features after the last n blocks, or after those listed: DINO's interface to `forward_intermediates`."""
        output_fmt = "NCHW" if reshape else "NLC"
        maps = self.forward_intermediates(x, n, norm=norm, output_fmt=output_fmt, intermediates_only=True)
        assert isinstance(maps, list)
        return maps

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
