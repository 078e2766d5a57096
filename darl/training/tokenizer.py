"""Training a tokenizer, and its weights as a part of other runs.

A tokenizer's training is an experiment like any other: its record has the images, the augmentation, the optimiser and
the tokenizer; model and objective are the defaults and mean nothing. It is trained by the same loop as a pretraining,
so its checkpoints have the same form and it resumes as exactly.

A run that reads or predicts tokens knows the tokenizer by a hash of its weights (`Experiment.tokenizer_weights`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import Tensor, nn

from darl.data import Batch, Dataset, steps_per_epoch
from darl.errors import UserError, reason
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.initial_weights import initialize
from darl.model.objectives.mse import Mse
from darl.model.tokenizers.base import LearnedTokenizer, Tokenizer, TokenizerModel, tokenizer_in
from darl.randomness import draw_rows
from darl.training.checkpoint import local_weights
from darl.training.description import Description, read_weights
from darl.training.initialization import weights_fingerprint
from darl.training.loop import MicrobatchLoss
from darl.training.task import Task
from darl.variants import require

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "TokenizerTask",
    "TrainedTokenizer",
    "fingerprint_in",
    "placed_weights",
    "read_tokenizer",
    "tokenizer_experiment",
    "with_tokens",
]

TOKENS = ("input", "target", "both")
"""What is done with tokens: they are read, predicted, or both."""


def tokenizer_experiment(base: Experiment, tokenizer: LearnedTokenizer, **changes: Any) -> Experiment:
    """The training of a tokenizer on the images of `base`, augmented as there; `changes` are other fields."""
    shared = ("data", "content", "image_size", "channels", "augment", "seed", "epochs", "batch_size", "accumulate",
              "learning_rate", "optim", "precision")  # fmt: skip
    model = EncoderConfig(width=64, depth=4, heads=4, patch_size=base.model.patch_size)
    own = {name: getattr(base, name) for name in shared} | {"model": model, "objective": Mse(), "noise": None}
    return Experiment(**{**own, "tokenizer": tokenizer, **changes})


class TokenizerTask(Task):
    """The training of a tokenizer."""

    def __init__(self, experiment: Experiment, dataset: Dataset):
        tokenizer = experiment.tokenizer
        remedy = "be one that is trained on images (others come with their weights)"
        require(isinstance(tokenizer, LearnedTokenizer), "tokenizer", remedy, str(tokenizer))
        assert isinstance(tokenizer, LearnedTokenizer)
        self.experiment, self.tokenizer = experiment, tokenizer
        self.steps = steps_per_epoch(len(dataset.train), experiment.batch_size) * experiment.epochs

    def build(self) -> TokenizerModel:
        """See `Task.build`."""
        model = self.tokenizer.build(self.experiment.channels, self.experiment.model.patch_size)
        initialize(model, self.experiment.seed)
        return model

    def losses(self, model: nn.Module, batch: Batch, first: int, size: int, step: int) -> Iterator[MicrobatchLoss]:
        """See `Task.losses`."""
        patches, device = self.experiment.model_config.patches, batch.images.device
        for start in range(0, len(batch.images), size):
            rows = range(first + start, first + start + size)
            draw = partial(self.tokenizer.draw, patches)
            drawn = draw_rows(draw, rows, self.experiment.seed, step, "tokenizer", device=device)
            images = batch.images[start : start + size]
            yield partial(self.tokenizer.loss, images=images, drawn=drawn, done=step / self.steps)


@dataclass(frozen=True, kw_only=True)
class TrainedTokenizer:
    """A tokenizer with its weights."""

    tokenizer: Tokenizer
    weights: Mapping[str, Tensor]
    """By the names in its own network."""
    description: Description | None = None
    """The run that trained it; None for a foreign one, which takes images normalised by any data's own statistics."""

    @property
    def fingerprint(self) -> str:
        """What `Experiment.tokenizer_weights` holds."""
        return weights_fingerprint(self.weights)

    def require_fitting(self, experiment: Experiment) -> None:
        """Raise UserError where images or patches of another kind were tokenized in its training."""
        if self.description is None:
            return
        own = self.description.experiment
        for name, ours, theirs in (
            ("patch_size", experiment.model.patch_size, own.model.patch_size),
            ("channels", experiment.channels, own.channels),
        ):
            require(ours == theirs, name, f"be {theirs}, the tokenizer's", ours)


def read_tokenizer(name: "str | Path", channels: int, patch_size: int) -> TrainedTokenizer:
    """A tokenizer that is ready for use.

    Args:
        name: a checkpoint of `darl tokenizer`, a run's folder (its newest checkpoint) or a .safetensors file, also at
            s3:// or gs://; or the text of a foreign tokenizer, `KIND:field=value`, which is built for these channels
            and this patch size.
        channels: of the images.
        patch_size: in pixels.

    Raises UserError where there is none, it cannot be read, or it is of a model.

    """
    text = str(name)
    if text.partition(":")[0] in Tokenizer.kinds():
        foreign = Tokenizer.parse(text)
        remedy = "be a checkpoint of darl tokenizer, which trains one of this kind"
        require(not isinstance(foreign, LearnedTokenizer), "tokenizer", remedy, text)
        return TrainedTokenizer(tokenizer=foreign, weights=foreign.build(channels, patch_size).state_dict())
    with local_weights(text, "tokenizer") as file:
        is_ours = file.suffix == ".safetensors"
        require(is_ours, "tokenizer", "be a checkpoint of darl tokenizer, a .safetensors file", text)
        try:
            weights, description = read_weights(file)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"must be a whole safetensors file, got {text!r} ({reason(error)})", field="tokenizer"
            ) from None
    trains = description is not None and description.experiment.trains_tokenizer
    require(trains, "tokenizer", "be a checkpoint of darl tokenizer, not of a model", text)
    assert description is not None
    assert description.experiment.tokenizer is not None
    return TrainedTokenizer(tokenizer=description.experiment.tokenizer, weights=weights, description=description)


def with_tokens(experiment: Experiment, tokens: str, trained: TrainedTokenizer) -> Experiment:
    """The experiment, of which tokens are the `input`, the `target` or `both`. Raises UserError."""
    require(tokens in TOKENS, "tokens", f"be one of {', '.join(TOKENS)}", tokens)
    trained.require_fitting(experiment)
    changes: dict[str, Any] = {"tokenizer": trained.tokenizer, "tokenizer_weights": trained.fingerprint}
    changes |= {} if tokens == "target" else {"token_input": True}
    changes |= {} if tokens == "input" else {"objective": "tokens", "noise": None, "context_noise": None}
    return experiment.changed(changes)


def placed_weights(weights: Mapping[str, Tensor], experiment: Experiment) -> dict[str, Tensor]:
    """The tokenizer's weights under the names that the experiment's model gives them."""
    reads, whole = experiment.token_input, experiment.finetuning is None
    place = f"{'encoder.' if whole else ''}patch_embed.tokenizer" if reads else "decoder.tokenizer"
    return {f"{place}.{name}": value for name, value in weights.items()}


def fingerprint_in(model: nn.Module) -> str | None:
    """The hash of the weights of the tokenizer that a model holds; None where it holds none."""
    tokenizer = tokenizer_in(model)
    return None if tokenizer is None else weights_fingerprint(tokenizer.state_dict())
