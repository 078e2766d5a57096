"""`darl.load`: the encoder of a run, ready to give features or to be fine-tuned; fine-tuned, ready to classify."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from darl.model.timm_encoder import TimmEncoder
from darl.model.weights import Origin
from darl.training.checkpoint import read_checkpoint
from darl.training.description import Description
from darl.variants import require

__all__ = ["load", "load_described"]


def load(run: str | Path, **options: Any) -> TimmEncoder:
    """The encoder of a run, in evaluation mode: `darl.load(RUN)(images)` are (batch, width) features.

    Of a fine-tuning they are (batch, classes) scores; `num_classes=0` gives its features.

    It has timm's interface (`forward_features`, `forward_intermediates`, …), of whatever size it is. Position encoding,
    patch order, mask and readout are the run's. It takes images whose pixels in [0, 1] were normalised by `mean` and
    `std` of its `pretrained_cfg`: `timm.data.resolve_data_config(model=encoder)` knows them.

    Args:
        run: a trial's folder of checkpoints (its newest is taken), a checkpoint, or a weights file (also one of
            the encoder alone, by `darl export`); also at s3:// or gs://. The moving average of the weights is taken
            where the run kept one.
        options: arguments of `TimmEncoder`, as `num_classes`, `img_size` or `drop_path_rate`; none for a fine-tuning
            with attentive pooling.

    Raises UserError where there is no checkpoint or it cannot be read, and for an option that contradicts it.

    """
    return load_described(run, **options)[0]


def load_described(run: str | Path, **options: Any) -> tuple[TimmEncoder, Description]:
    """The encoder as `load` gives it, and the run that it comes from. Raises UserError."""
    weights, description = read_checkpoint(run)
    origin = description.origin
    encoder = _encoder(weights, description, origin, options)
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


def _encoder(
    weights: Mapping[str, Tensor], described: Description, origin: Origin, options: Mapping[str, Any]
) -> TimmEncoder:
    """The encoder with the weights; a fine-tuning's classifier where `num_classes` is not given as another."""
    tuning, own = described.experiment.finetuning, len(weights.get("head.weight", ()))
    if tuning is not None and tuning.attentive:
        from darl.training.classifier import Classifier  # with timm's parts for training

        require(not options, "options", "be none for a fine-tuning with attentive pooling", sorted(options))
        classifier = Classifier(origin.trunk, tuning, own)
        classifier.load_state_dict(weights)
        return classifier
    encoder = TimmEncoder(origin.trunk.size, **origin.options({"num_classes": own, **options}))
    kept = encoder.num_classes == own
    others = {name: value for name, value in weights.items() if kept or not name.startswith("head.")}
    encoder.load_state_dict(others)  # without a head, a new one stays as it is
    return encoder
