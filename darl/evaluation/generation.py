"""How good drawn images are: distances to held-out images, on features of a classifier of the same data."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn

from darl.evaluation.finetune import FinetuneProtocol
from darl.evaluation.once import data_key
from darl.evaluation.protocol import Need, Pass, Protocol, Value
from darl.evaluation.sample_quality import frechet_distance, kernel_distance, precision_recall
from darl.evaluation.subject import BATCH, Subject
from darl.experiment import Experiment
from darl.metrics import FINETUNE, GENERATION, Metric
from darl.model.config import ModelConfig
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.mse import Mse
from darl.model.orders import Raster
from darl.model.positions import Rotary2d
from darl.model.sampling import PatchSampler, Sampling
from darl.randomness import generator, seed_of
from darl.variants import require

if TYPE_CHECKING:
    from darl.data import Dataset

__all__ = ["GenerationProtocol"]

KEPT = 2
"""Classifiers that are kept in a process: the trials of a sweep have one data set."""

_classifiers: "OrderedDict[Hashable, tuple[nn.Module, float]]" = OrderedDict()


@dataclass(frozen=True, kw_only=True)
class GenerationProtocol(Protocol):
    """Fréchet and kernel distance, precision and recall of drawn images against held-out ones.

    The validation images are split into two halves, by chance but always the same. As many images are drawn as a half
    has, and compared with one half. The other half, compared with it likewise (columns `…_real`), is what a perfect
    model would draw: the floor of the distances, the ceiling of precision and recall.

    Features are those of a classifier that is trained on the training images: a Vision Transformer of width 64, depth 4
    and at most 8 × 8 patches, by the recipe of `finetune` from random weights. They depend on the data alone, so models
    of one data set can be compared; the numbers of two data sets, and published ones of Inception features, cannot.
    `generation_features` says how good the classifier is.

    images: most images that are drawn. steps (0: as suits the model), sampler, temperature: see `darl.model.sampling`.
    neighbours: of precision and recall. epochs: of the classifier.
    """

    kind: ClassVar[str] = "generation"
    gives: ClassVar[tuple[Metric, ...]] = tuple(GENERATION.values())
    chooses: ClassVar[tuple[str, ...]] = ("generation_features",)
    needs: ClassVar[frozenset[Need]] = frozenset({Need.LABELS, Need.TRAINING, Need.DRAWING})
    images: int = 1000
    steps: int = 0
    sampler: str = "ancestral"
    temperature: float = 1.0
    neighbours: int = 3
    epochs: int = 20

    def __post_init__(self) -> None:
        for name, least in (("images", 8), ("steps", 0), ("neighbours", 1), ("epochs", 1)):
            value = getattr(self, name)
            require(value >= least, f"protocol.{name}", f"be at least {least}", value)
        fits = self.neighbours < self.images
        require(fits, "protocol.neighbours", f"be below images {self.images}", self.neighbours)
        _ = self.how

    @property
    def how(self) -> Sampling:
        """How images are drawn."""
        return Sampling(
            steps=self.steps or None, sampler=PatchSampler.parse(self.sampler), temperature=self.temperature
        )

    def passes(self) -> frozenset[Pass]:
        """One of the classifier over the validation images; drawing and training are counted by `flops`."""
        return frozenset({Pass("validation", "features of a classifier")})

    def flops(self, dataset: "Dataset", config: ModelConfig) -> float:
        """The classifier's training, and each drawn image's forward pass with a decoder's for each denoising step."""
        fitted = _classifier_config(config)
        training = FinetuneProtocol(epochs=str(self.epochs)).flops(dataset, fitted)
        plain = replace(config, next_patches=None, random_order=None)
        decoder = plain.flops() - plain.trunk_flops(config.patches - 1)
        count = min(self.images, len(dataset.validation) // 2)
        return training + count * (config.trunk_flops(config.patches) + (self.steps or 32) * max(0.0, decoder))

    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """Trains on every worker of the run together, where there are several. Raises UserError, ArithmeticError."""
        halves = min(self.images, len(subject.dataset.validation) // 2)
        remedy = f"have at least {2 * (self.neighbours + 1)} validation images for protocol generation"
        require(halves > self.neighbours, "data", remedy, len(subject.dataset.validation))
        with torch.autocast(subject.device.type, enabled=False), torch.random.fork_rng(devices=[]):
            classifier, top1 = self._classifier(subject)
            with torch.no_grad():
                real = torch.cat([_features(classifier, images) for images in _validation(subject)])
                drawn = torch.cat([_features(classifier, images) for images in self._drawn(subject, halves)])
        order = torch.randperm(len(real), generator=generator("generation", "halves")).to(real.device)
        held_out, other = real[order[:halves]], real[order[halves : 2 * halves]]
        judged = {"": self._judge(drawn, held_out), "_real": self._judge(other, held_out)}
        columns = {f"{name}{end}": value for end, values in judged.items() for name, value in values.items()}
        text = f"{top1:.1%} right, {halves} images"
        return {**{GENERATION[name].column: value for name, value in columns.items()}, "generation_features": text}

    def _judge(self, drawn: Tensor, real: Tensor) -> dict[str, float]:
        coverage = precision_recall(drawn, real, self.neighbours)
        return {
            "frechet": frechet_distance(drawn, real), "kernel": kernel_distance(drawn, real),
            "precision": coverage.precision, "recall": coverage.recall,
        }  # fmt: skip

    def _drawn(self, subject: Subject, count: int) -> Iterator[Tensor]:
        """Normalised drawn images, with the 256 levels that real ones have."""
        mean, std = (torch.tensor(values, device=subject.device).view(1, -1, 1, 1)
                     for values in (subject.dataset.mean, subject.dataset.std))  # fmt: skip
        how = self.how
        for first in range(0, count, BATCH):
            images = subject.model.generate(
                min(BATCH, count - first), steps=how.steps, sampler=how.sampler, temperature=how.temperature,
                seed=seed_of("generation", first),
            )  # fmt: skip
            yield (((images * std + mean).clamp(0, 1) * 255).round() / 255 - mean) / std

    def _classifier(self, subject: Subject) -> tuple[nn.Module, float]:
        """The classifier, in evaluation mode, and its accuracy on the validation images; trained once for a data set.

        It depends on the data, the device and `epochs` only.
        """
        dataset = subject.dataset.deciding
        content = data_key(dataset, subject.device)
        key = content and (content, self.epochs)
        if key is None or key not in _classifiers:
            trained = self._train(self.experiment(subject.model.config, len(dataset.train)), subject)
            if key is None:
                return trained
            _classifiers[key] = trained
            while len(_classifiers) > KEPT:
                _classifiers.popitem(last=False)
        return _classifiers[key]

    def experiment(self, config: ModelConfig, images: int) -> Experiment:
        """The classifier's training. config: of the model that draws; images: number of training images."""
        recipe = FinetuneProtocol(epochs=str(self.epochs))
        return recipe.experiment(_classifier_config(config), images, precision="float32")

    def _train(self, experiment: Experiment, subject: Subject) -> tuple[nn.Module, float]:
        from darl.evaluation.finetuned import Accuracy, NoEvaluation
        from darl.training.pretrain import fit

        trained: list[tuple[nn.Module, float]] = []

        def keep(model: nn.Module, dataset: "Dataset", device: torch.device) -> Mapping[str, Value]:
            columns = Accuracy()(model, dataset, device)
            trained.append((model.eval(), float(cast("float | None", columns[FINETUNE.column]) or 0)))
            return columns

        try:
            list(fit(experiment, subject.dataset.deciding, device=subject.device, first=NoEvaluation(), full=keep))
        except ArithmeticError as error:  # the pretraining has not diverged
            raise type(error)(f"classifier of protocol generation: {error}") from error
        return trained[0]


def _classifier_config(config: ModelConfig) -> ModelConfig:
    """Of a Vision Transformer for the images of `config`, which reads pixels whatever the model reads."""
    height, width = config.image_size
    sizes = [size for size in range(2, height + 1) if height % size == width % size == 0 and height // size <= 8]
    size = EncoderConfig(width=64, depth=4, heads=4, patch_size=sizes[0])
    return replace(
        config, size=size, order=Raster(), position=Rotary2d(), causal=False, objective=Mse(), noise=None, classes=None,
        attention=None, context_noise=None, next_patches=None, condition=None, random_order=None, tokenizer=None,
        token_input=None,
    )  # fmt: skip


def _validation(subject: Subject) -> Iterator[Tensor]:
    from darl.data import evaluation_batches

    dataset = subject.dataset
    return iter(evaluation_batches(dataset, dataset.validation, batch_size=BATCH, device=subject.device))


def _features(classifier: nn.Module, images: Tensor) -> Tensor:
    """(images, 64): the mean of the patch tokens after the last norm."""
    return classifier.forward_head(classifier.forward_features(images), pre_logits=True)  # pyright: ignore[reportCallIssue]
