"""Fine-tuning: the encoder trained on with a classifier, by MAE's recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from darl.data.augment import Augment
from darl.evaluation.protocol import Need, Pass, Protocol, Value
from darl.evaluation.subject import Subject
from darl.experiment import Experiment
from darl.finetuning import Finetuning
from darl.metrics import FINETUNE, OVER_IMAGES, Metric
from darl.model.config import ModelConfig
from darl.model.objectives.base import Objective
from darl.optim import Optimizer
from darl.training.events import Evaluated
from darl.variants import convert, require

if TYPE_CHECKING:
    from darl.data import Dataset

__all__ = ["AUGMENTATIONS", "USUAL", "FinetuneProtocol", "usual_recipe"]

USUAL = "usual"
"""The text of an option that is left to `usual_recipe`."""

AUGMENTATIONS: Mapping[str, Mapping[str, Any]] = {
    "none": {"rand_augment": "", "erasing": 0.0, "mixup": 0.0, "cutmix": 0.0},
    "light": {"rand_augment": "", "erasing": 0.0, "mixup": 0.2, "cutmix": 0.0},
    "full": {},
}
"""The strengths of augmentation, as changes of `Finetuning`, whose defaults are MAE's."""

CROP_MIN = 0.08
"""Smallest part of an image's area that a random crop keeps, in MAE as in timm's `create_transform`."""

TINY = 16
"""Pixels up to which images are too small for augmentation."""


def usual_recipe(config: ModelConfig, images: int) -> dict[str, float | str]:
    """MAE's settings for a model's size, changed where images are small or few. The options of `FinetuneProtocol`.

    MAE (He et al. 2022, appendix A.2, table 9): base 100 epochs, 5e-4 for 256 images a batch, layer decay 0.65, drop
    path 0.1; large 50 epochs, 1e-3, 0.75, 0.2; huge 50 epochs, 1e-3, 0.75, 0.3; batch 1024. It has no smaller models:
    they get the base model's drop path, 1e-3 and layer decay 0.75.

    Of fewer than 100,000 images a batch has 256, of fewer than 10,000 it has 64, so that there are enough steps.
    Images of up to 16 pixels are not augmented (RandAugment moves and erases most of an 8-pixel digit), and the narrow
    models that suit them take 20 epochs at 2e-2 for 256 images: on the digits with 64 images a batch, 5e-3 was better
    than 2e-3 and 1e-3. For images between these sizes and ImageNet's nothing was tuned.
    """
    width = config.size.width
    epochs, rate, decay, drop = 100, 1e-3, 0.75, 0.1
    if width >= 768:
        epochs, rate, decay, drop = 100, 5e-4, 0.65, 0.1
    if width >= 1024:
        epochs, rate, decay, drop = 50, 1e-3, 0.75, 0.2 if width < 1280 else 0.3
    batch = 1024 if images >= 100_000 else 256 if images >= 10_000 else min(64, images - images % 2)
    tiny = max(config.image_size) <= TINY
    if tiny:
        epochs, rate = 20, 2e-2
    return {
        "epochs": epochs, "batch_size": batch, "rate": rate, "layer_decay": decay, "drop_path": drop,
        "augmentation": "none" if tiny else "full",
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FinetuneProtocol(Protocol):
    """Top-1 after the encoder has been trained on with a classifier, in [0, 1].

    With its 95 % interval over images, its mean over classes and, with more than 10 classes, top-5.

    Before a pretraining it is supervised training from random weights with the same budget: `init_finetune_top1`.
    Options that are `usual` suit the model and the data: see `usual_recipe`. The validation images choose nothing.

    epochs, batch_size: numbers. learning_rate: the peak; usually in proportion to the batch. layer_decay, drop_path: of
    `Finetuning`. mask: `removed`, as in the paper, or `kept`. readout: `mean` or `last` of the patch tokens, or
    `attentive`. augmentation: `none`, `light` (Mixup 0.2) or `full` (MAE's). ema: decay of the weights' moving average,
    0 for none. seed: of the classifier's weights, the order and the augmentation.
    """

    kind: ClassVar[str] = "finetune"
    gives: ClassVar[tuple[Metric, ...]] = (FINETUNE, *OVER_IMAGES[FINETUNE.column])
    needs: ClassVar[frozenset[Need]] = frozenset({Need.LABELS, Need.TRAINING})
    encoder_alone: ClassVar[bool] = True
    epochs: str = USUAL
    batch_size: str = USUAL
    learning_rate: str = USUAL
    layer_decay: str = USUAL
    drop_path: str = USUAL
    mask: str = "removed"
    readout: str = "mean"
    augmentation: str = USUAL
    ema: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.mask in ("kept", "removed"), "protocol.mask", "be kept or removed", self.mask)
        readouts = ("mean", "last", "attentive")
        require(self.readout in readouts, "protocol.readout", f"be one of {', '.join(readouts)}", self.readout)
        strengths = (USUAL, *AUGMENTATIONS)
        remedy = f"be one of {', '.join(strengths)}"
        require(self.augmentation in strengths, "protocol.augmentation", remedy, self.augmentation)
        for name, kind in (("epochs", int), ("batch_size", int), ("learning_rate", float)):
            number = self._given(name, kind)
            require(number is None or number > 0, f"protocol.{name}", "be positive", getattr(self, name))
        decay, drop = self._given("layer_decay", float), self._given("drop_path", float)
        require(decay is None or 0 < decay <= 1, "protocol.layer_decay", "be in (0, 1]", self.layer_decay)
        require(drop is None or 0 <= drop < 1, "protocol.drop_path", "be in [0, 1)", self.drop_path)
        require(0 <= self.ema < 1, "protocol.ema", "be in [0, 1)", self.ema)
        require(0 <= self.seed < 2**63, "protocol.seed", "be in [0, 2^63)", self.seed)

    def _given(self, name: str, kind: type) -> Any:
        """An option's number; None where it is `usual`. Raises UserError."""
        text = getattr(self, name)
        return None if text == USUAL else convert(f"protocol.{name}", kind, text)

    def passes(self) -> frozenset[Pass]:
        """One over the validation images, and at the end the test images; training is counted by `flops`."""
        output = "classes after fine-tuning"
        return frozenset({Pass("validation", output), Pass("test", output)})

    def flops(self, dataset: "Dataset", config: ModelConfig) -> float:
        """Three forward passes of an image in each epoch."""
        recipe = self._recipe(config, len(dataset.train))
        size = int(recipe["batch_size"])
        images = len(dataset.train) // size * size * int(recipe["epochs"])
        return 3 * images * config.trunk_flops(config.patches)

    def _recipe(self, config: ModelConfig, images: int) -> dict[str, Any]:
        """The options, with numbers in place of `usual`."""
        recipe: dict[str, Any] = usual_recipe(config, images)
        for name, kind in (("epochs", int), ("batch_size", int), ("layer_decay", float), ("drop_path", float)):
            given = self._given(name, kind)
            recipe[name] = recipe[name] if given is None else given
        rate = self._given("learning_rate", float)
        recipe["learning_rate"] = recipe["rate"] * recipe["batch_size"] / 256 if rate is None else rate
        if self.augmentation != USUAL:
            recipe["augmentation"] = self.augmentation
        return recipe

    def experiment(self, config: ModelConfig, images: int, **settings: Any) -> Experiment:
        """The fine-tuning of a pretrained model as an experiment.

        Args:
            config: the pretrained model's.
            images: number of training images.
            settings: other fields of the experiment, as `data`, `init`, `tokenizer_weights` and `precision`; `source`
                of `Finetuning`. Without `init` it is training from random weights, whose record has nothing of the
                pretraining but the tokenizer, where its tokens are read.

        Raises UserError.

        """
        recipe = self._recipe(config, images)
        plain = recipe["augmentation"] == "none"
        usual = {
            **_read_as(config, "mean" if self.readout == "attentive" else self.readout, self.mask == "kept"),
            "objective": config.objective if settings.get("init") else Objective.parse("supervised"),
            "noise": config.noise if settings.get("init") else None,
            "tokenizer": config.tokenizer if settings.get("init") or config.token_input else None,
            "augment": Augment() if plain else Augment(crop_min=CROP_MIN, flip=config.channels == 3),
            "finetuning": self._finetuning(recipe, settings.pop("source", None)),
        }
        warmup = min(5 / recipe["epochs"], 0.1)  # MAE's 5 epochs, of fewer than 50 a tenth
        return Experiment(
            seed=self.seed,
            epochs=recipe["epochs"],
            batch_size=recipe["batch_size"],
            learning_rate=recipe["learning_rate"],
            optim=Optimizer(weight_decay=0.05, beta2=0.999, warmup=warmup, clip=0.0, ema=self.ema),
            **{**usual, **settings},
        )

    def _finetuning(self, recipe: Mapping[str, Any], source: str | None) -> Finetuning:
        """The settings that only fine-tuning has."""
        return Finetuning(
            source=source,
            layer_decay=recipe["layer_decay"],
            drop_path=recipe["drop_path"],
            attentive=self.readout == "attentive",
            **AUGMENTATIONS[recipe["augmentation"]],
        )

    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """Trains on every worker of the run together, where there are several, in the precision of the run.

        Raises ArithmeticError, UserError.
        """
        from darl.evaluation.finetuned import Accuracy, NoEvaluation
        from darl.training.initialization import weights_fingerprint
        from darl.training.pretrain import fit

        weights = {name: value.detach().clone() for name, value in subject.model.state_dict().items()}
        experiment = self.experiment(
            subject.model.config,
            len(subject.dataset.train),
            init=weights_fingerprint(weights),
            precision="bfloat16" if torch.is_autocast_enabled(subject.device.type) else "float32",
        )
        own = {"device": subject.device, "initial": weights, "first": NoEvaluation(), "full": Accuracy()}
        last = None
        try:
            with torch.autocast(subject.device.type, enabled=False), torch.random.fork_rng(devices=[]):
                for event in fit(experiment, subject.dataset, **own):
                    last = event if isinstance(event, Evaluated) else last
        except ArithmeticError as error:  # the pretraining that it is part of has not diverged
            raise type(error)(f"fine-tuning: {error}") from error
        assert last is not None
        columns = (*(metric.column for metric in self.gives), FINETUNE.test_column)
        return {column: last.metrics[column] for column in columns if column in last.metrics}


def _read_as(config: ModelConfig, readout: str, kept: bool) -> dict[str, Any]:
    """The fields of an experiment that say how the pretrained encoder reads images. kept: whether it keeps its mask."""
    return {
        "image_size": config.image_size[0],
        "channels": config.channels,
        "model": replace(config.size, readout=readout),
        "order": config.order,
        "position": config.position,
        "causal": config.causal and kept,
        "token_input": config.token_input,
    }
