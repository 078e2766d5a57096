"""What a tokenizer keeps of images: the error of its reconstructions, and how many of its tokens are in use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.data import Dataset, Images, Stream, evaluation_batches
from darl.evaluation.protocol import SPLIT, Need, Pass, Protocol, Value
from darl.evaluation.subject import BATCH, Subject
from darl.metrics import RECONSTRUCTION, TOKEN_PERPLEXITY, TOKENS_USED, Metric
from darl.model.patches import grid_of, patchify
from darl.model.tokenizers.base import TokenizerModel, tokenizer_in

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Reconstruction", "ReconstructionProtocol", "TokenizerEvaluation", "patch_means_error", "reconstruct"]

MOST_PATCHES = 100_000
"""Training patches from which k-means is fitted."""


@dataclass(frozen=True)
class Reconstruction:
    """A tokenizer on the images of a split."""

    error: float
    """Mean squared error of the normalised pixels."""
    counts: "Int[Tensor, ' vocabulary']"
    """How often each token occurs."""

    @property
    def used(self) -> float:
        """The share of the vocabulary that occurs, in [0, 1]."""
        return float((self.counts > 0).double().mean())

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the tokens' frequencies: as many tokens in equal use, in [1, vocabulary]."""
        share = self.counts[self.counts > 0].double() / self.counts.sum()
        return float(torch.exp(-(share * share.log()).sum()))

    @property
    def columns(self) -> dict[str, float]:
        """By column of the tables."""
        return {
            RECONSTRUCTION.column: self.error,
            TOKEN_PERPLEXITY.column: self.perplexity,
            TOKENS_USED.column: self.used,
        }


@torch.no_grad()
def reconstruct(
    tokenizer: TokenizerModel, vocabulary: int, patch_size: int, batches: Iterator[Tensor]
) -> Reconstruction:
    """The tokenizer on batches of normalised images. Raises UserError where it cannot decode."""
    counts, squares, values = torch.zeros(vocabulary, dtype=torch.long), 0.0, 0
    for images in batches:
        tokens = tokenizer.tokens(images)
        grid = grid_of((images.shape[2], images.shape[3]), patch_size)
        with torch.autocast(images.device.type, enabled=False):
            error = tokenizer.decode(tokens, grid).double() - images
        counts += torch.bincount(tokens.flatten().cpu(), minlength=vocabulary)
        squares, values = squares + float(error.square().sum()), values + images.numel()
    return Reconstruction(squares / values, counts)


@dataclass(frozen=True)
class TokenizerEvaluation:
    """The evaluation of a tokenizer's training, on the validation images. See `darl.training.pretrain.Evaluation`."""

    vocabulary: int
    patch_size: int

    def __call__(self, model: TokenizerModel, dataset: Dataset, device: torch.device) -> Mapping[str, Value]:
        """Metrics by column."""
        was_training = model.training
        model.eval()
        batches = evaluation_batches(dataset, dataset.validation, batch_size=BATCH, device=device)
        measured = reconstruct(model, self.vocabulary, self.patch_size, batches)
        model.train(was_training)
        return {SPLIT: dataset.split, **measured.columns}


@dataclass(frozen=True, kw_only=True)
class ReconstructionProtocol(Protocol):
    """The tokenizer of a model that reads or predicts tokens: see `Reconstruction`."""

    kind: ClassVar[str] = "reconstruction"
    gives: ClassVar[tuple[Metric, ...]] = (RECONSTRUCTION, TOKEN_PERPLEXITY, TOKENS_USED)
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TOKENIZER})

    def passes(self) -> frozenset[Pass]:
        """One over the validation images, at less than an encoder's cost."""
        return frozenset({Pass("validation", "reconstructions")})

    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """See `Protocol.measure`."""
        config, model = subject.model.config, tokenizer_in(subject.model)
        assert config.tokenizer is not None
        assert model is not None
        batches = evaluation_batches(
            subject.dataset, subject.dataset.validation, batch_size=BATCH, device=subject.device
        )
        return {**reconstruct(model, config.tokenizer.vocabulary, config.size.patch_size, batches).columns}


def patch_means_error(dataset: Dataset, vocabulary: int, patch_size: int) -> tuple[float, float]:
    """The errors of two yardsticks on the validation images, fitted on the training images.

    The first is that of the mean training image; the second that of k-means: as many patches as there are tokens, each
    patch replaced by the nearest of them (scikit-learn's `KMeans`, up to 100,000 training patches).
    """
    from sklearn.cluster import KMeans

    train, validation = (_images(dataset, split) for split in (dataset.train, dataset.validation))
    of_mean = float((validation - train.mean(0)).square().mean())
    patches, held_out = (patchify(images, patch_size).flatten(0, 1).double() for images in (train, validation))
    chosen = torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:MOST_PATCHES]
    fitted = KMeans(min(vocabulary, len(chosen)), n_init=1, random_state=0).fit(patches[chosen].numpy())  # pyright: ignore
    nearest = torch.from_numpy(fitted.cluster_centers_[fitted.predict(held_out.numpy())])
    return of_mean, float((held_out - nearest).square().mean())


def _images(dataset: Dataset, split: Images | Stream) -> "Float[Tensor, 'images channels height width']":
    """Normalised images of a split: the first batches of a stream, all in memory."""
    batches = evaluation_batches(dataset, split, batch_size=BATCH, device=torch.device("cpu"))
    kept: list[Tensor] = []
    for images in batches:
        kept.append(images)
        if isinstance(split, Stream) and sum(map(len, kept)) >= 4 * BATCH:
            break
    return torch.cat(kept)
