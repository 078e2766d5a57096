"""A folder that stock timm loads: `timm.create_model("local-dir:FOLDER", pretrained=True)`, without darl."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darl.export.base import Source, require_pixels
from darl.export.card import CardExport

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["StockTimm"]

MASK_FILE, MASK = "attn_mask.safetensors", "attn_mask"


@dataclass(frozen=True, kw_only=True)
class StockTimm(CardExport):
    """A model of stock timm, which needs none of darl's code: weights, config.json, model card."""

    kind: ClassVar[str] = "timm"
    library: ClassVar[str] = "timm"

    def check(self, source: Source) -> None:
        """Raise UserError for tokens, a position encoding that timm lacks, and a timm without a causal mask."""
        require_pixels(self, source)
        import inspect

        import timm
        from timm.models.eva import Eva

        from darl.model.stock_timm import stock_model
        from darl.variants import require

        needed = set(stock_model(source.encoder).reading)
        knows = needed <= set(inspect.signature(Eva.forward_features).parameters)
        require(knows, "export", "have timm 1.0.26 or newer, whose models take a causal mask", timm.__version__)

    def write_model(self, source: Source, folder: Path) -> None:
        """`model.safetensors` and `config.json` in timm's format; `attn_mask.safetensors` where there is a mask."""
        from safetensors.torch import save_file
        from timm.models import save_for_hf

        from darl.model.stock_timm import stock_model

        stock = stock_model(source.encoder)
        record: dict[str, Any] = {"is_causal": stock.causal, "record": source.description.experiment.to_record()}
        save_for_hf(
            stock.build(source.pretrained_cfg),
            str(folder),
            model_config={"darl": record},
            model_args=stock.arguments,
            safe_serialization=True,
        )
        if stock.mask is not None:
            save_file({MASK: stock.mask}, folder / MASK_FILE)

    def read(self, source: Source, folder: Path, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """By timm, which is given the folder."""
        import timm
        from safetensors.torch import load_file

        from darl.model.stock_timm import stock_model

        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        reading = stock_model(source.encoder).reading
        if MASK in reading:
            reading = load_file(folder / MASK_FILE)
        tokens = model.forward_features(images, **reading)
        last = source.encoder.order[-1]
        pooled = tokens[:, 1 + last] if model.global_pool == "" else model(images, **reading)
        return tokens[:, 1:], pooled

    def loading(self, source: Source, folder: str) -> str:
        """`timm.create_model` of the folder, or of a model of the Hub, and the arguments that its methods need."""
        from darl.model.stock_timm import stock_model

        stock, order = stock_model(source.encoder), source.encoder.order
        arguments = {"is_causal": ", is_causal=True", MASK: ", attn_mask=mask"}
        more = "".join(arguments[name] for name in stock.reading)
        mean = source.encoder.global_pool == "avg"
        readout = f"model(images{more})" if mean else f"features[:, {int(order[-1])}]"
        lines = [
            f"import timm{'  # 1.0.26 or newer' if more else ''}",
            f'model = timm.create_model("local-dir:{folder}", pretrained=True).eval()',
            f"features = model.forward_features(images{more})[:, 1:]  # (batch, patches, width), in raster order",
            f"vector = {readout}  # (batch, width): {'the mean' if mean else 'the last patch in the order'}",
            "config = timm.data.resolve_data_config(model=model)  # size, mean and std of the images",
        ]
        if stock.mask is not None:
            lines.insert(1, "from safetensors.torch import load_file")
            lines.insert(3, f'mask = load_file("{folder}/{MASK_FILE}")["{MASK}"]  # the patch order')
        if more:
            lines.append(f"# without{more[1:]} it reads without the mask: the paper fine-tunes so")
        if stock.mask is not None or "rope.freqs" in stock.weights:
            lines.append("# for images of this size only: patch order or positions depend on it")
        return "\n".join(lines)
