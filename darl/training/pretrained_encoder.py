"""`darl.load`: the encoder of a pretraining run, ready to give features or to be fine-tuned."""

from pathlib import Path
from typing import Any

from darl.model.timm_encoder import TimmEncoder
from darl.training.checkpoint import read_checkpoint
from darl.training.description import Description

__all__ = ["load", "load_described"]


def load(run: str | Path, **options: Any) -> TimmEncoder:
    """The pretrained encoder of a run, in evaluation mode: `darl.load(RUN)(images)` are (batch, width) features.

    It has timm's interface (`forward_features`, `forward_intermediates`, …), of whatever size it is. Position encoding,
    patch order, mask and readout are the run's. It takes images whose pixels in [0, 1] were normalised by `mean` and
    `std` of its `pretrained_cfg`: `timm.data.resolve_data_config(model=encoder)` knows them.

    Args:
        run: a trial's folder of checkpoints (its newest is taken), a checkpoint, or a weights file (also one of
            the encoder alone, by `darl export`); also at s3:// or gs://. The moving average of the weights is taken
            where the run kept one.
        options: arguments of `TimmEncoder`, as `num_classes`, `img_size` or `drop_path_rate`.

    Raises UserError where there is no checkpoint or it cannot be read, and for an option that contradicts it.

    """
    return load_described(run, **options)[0]


def load_described(run: str | Path, **options: Any) -> tuple[TimmEncoder, Description]:
    """The encoder as `load` gives it, and the run that it comes from. Raises UserError."""
    weights, description = read_checkpoint(run)
    origin = description.origin
    encoder = TimmEncoder(origin.trunk.size, **origin.options({"num_classes": 0, **options}))
    encoder.load_state_dict(weights)
    config: Any = {
        "architecture": "darl",
        "num_classes": encoder.num_classes,
        "interpolation": "bicubic",
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        **origin.preprocessing({}),
    }
    encoder.pretrained_cfg = encoder.default_cfg = config
    return encoder.eval(), description
