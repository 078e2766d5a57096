"""Attentive probe: a classifier that reads all frozen patch tokens by attention (El-Nouby et al. 2024, AIM).

AIM judges by it (arXiv 2401.08541, section 4 and appendix) because generative models are not trained to put what an
image shows into one vector: a learned query finds it in the patch tokens. As in `AttentionPoolingClassifier` of
apple/ml-aim: tokens are normalised without learned scale, one query cross-attends to them, a linear map without bias
classifies. Since the tokens are frozen, they are normalised by the mean and deviation over all training tokens, to
which AIM's batch norm converges. There is no augmentation: each image is read once.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.evaluation.accuracy import accuracies, best_classes
from darl.evaluation.feature_protocol import held_out_tenth
from darl.evaluation.once import data_key, once
from darl.evaluation.protocol import Need, Pass, Protocol, Value
from darl.evaluation.subject import Split, Subject, spans
from darl.evaluation.token_source import ModelTokens, PixelTokens, TokenSource
from darl.metrics import ATTENTIVE, OVER_IMAGES, Metric
from darl.model.attentive_pooling import AttentivePooling, pooling_flops
from darl.model.config import ModelConfig
from darl.randomness import seed_of
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset

__all__ = ["RATES", "AttentiveProbe", "AttentiveProtocol", "fit_probes"]

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
"""The peak learning rates that are tried side by side."""


@dataclass(frozen=True, kw_only=True)
class AttentiveProtocol(Protocol):
    """Top-1 of an attentive probe on the frozen patch tokens, in [0, 1].

    With its 95 % interval over images, its mean over classes and, with more than 10 classes, top-5.

    Probes with four learning rates are trained side by side on nine tenths of the training images. The one that is best
    on the other tenth is tested on the validation images. With block `best`, it is the best of all blocks' probes.

    The yardstick of raw pixels reads pixel patches of the model's patch size, each with a fixed sine-cosine code of its
    place: the model's tokens know where they are.

    block: after how many blocks the tokens are read: a number, `last`, or `best`. mask: `kept`, or `removed` to read
    without the causal mask. epochs, batch_size: of AdamW with a cosine schedule. Tokens are kept in half precision, or
    computed again in every epoch where they would take more than 3 GiB.
    """

    kind: ClassVar[str] = "attentive"
    gives: ClassVar[tuple[Metric, ...]] = (ATTENTIVE, *OVER_IMAGES[ATTENTIVE.column])
    chooses: ClassVar[tuple[str, ...]] = ("attentive_readout",)
    needs: ClassVar[frozenset[Need]] = frozenset({Need.LABELS})
    encoder_alone: ClassVar[bool] = True
    block: str = "last"
    mask: str = "kept"
    epochs: int = 30
    batch_size: int = 256

    def __post_init__(self) -> None:
        known = self.block in ("best", "last") or self.block.isdecimal()
        require(known, "protocol.block", "be the number of a block, last or best", self.block)
        require(self.mask in ("kept", "removed"), "protocol.mask", "be kept or removed", self.mask)
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"protocol.{name}", "be at least 1", getattr(self, name))

    def check(self, config: ModelConfig) -> None:
        """See `Protocol.check`."""
        spans(self.block, config.size.depth)

    def passes(self) -> frozenset[Pass]:
        """Of the training images one for the mean and deviation of the tokens, and one for the tokens.

        The last evaluation reads the test images once.
        """
        output = f"tokens, mask {self.mask}"
        return frozenset({Pass("train", output, 2.0), Pass("validation", output), Pass("test", output)})

    def flops(self, dataset: "Dataset", config: ModelConfig) -> float:
        """Three forward passes of an image through each probe in each epoch, for every block and for the pixels.

        Blocks before the last are read by passes of their own, each as far as it goes. Tokens that do not fit into
        memory cost a forward pass an epoch more, which is not counted.
        """
        size, blocks = config.size, config.size.depth if self.block == "best" else 1
        probe = pooling_flops(config.patches, size.width, size.heads) + 2.0 * size.width * dataset.class_count
        training = 3 * len(RATES) * self.epochs * len(dataset.train) * probe * (blocks + 1)
        images = 2 * len(dataset.train) + len(dataset.validation) + len(dataset.test or ())
        return training + (blocks - 1) / 2 * images * config.trunk_flops(config.patches)

    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """The model's passes follow autocast; probes are float32 in any case."""
        encoder = subject.model.encoder
        depth = len(encoder.blocks)
        blocks = [block for block, _ in spans(self.block, depth)]
        judged = {
            block: self._judge(ModelTokens(subject, block, masked=self.mask == "kept"), subject) for block in blocks
        }
        block = max(judged, key=lambda each: judged[each].held_out)
        best = judged[block]
        readout = f"block {block}, learning rate {best.rate:g}"
        return {**best.columns, **self._of_pixels(subject), "attentive_readout": readout}

    def _of_pixels(self, subject: Subject) -> Mapping[str, Value]:
        """The accuracy for raw pixels; measured once for a data set."""
        patch_size, heads = subject.model.patch_size, subject.model.encoder.size.heads
        subject = replace(subject, dataset=subject.dataset.deciding)
        content = data_key(subject.dataset, subject.device)
        key = content and ("attentive", patch_size, heads, self.epochs, self.batch_size, content)
        tokens = PixelTokens(subject, patch_size, heads)
        return once(key, lambda: {ATTENTIVE.pixels_column: self._judge(tokens, subject).columns[ATTENTIVE.column]})

    def _judge(self, source: TokenSource, subject: Subject) -> "_Judged":
        """The best probe's accuracies and its learning rate."""
        y, classes, device = subject.labels("train"), subject.classes, subject.device
        rest, held = held_out_tenth(y)
        kept = torch.zeros(len(y), dtype=torch.bool, device=device)
        kept[rest] = True
        batch = min(self.batch_size, len(y))

        def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
            for tokens, indices in source.shuffled(number, batch):
                own = kept[indices.to(device)]
                if own.any():
                    yield tokens.to(device)[own], y[indices.to(device)][own]

        probes = fit_probes(epoch, source.width, classes, source.heads, self.epochs, len(y) // batch, device)
        scores = [_top1(best[held], y[held]) for best in _best(probes, source.ordered("train"))]
        chosen = scores.index(max(scores))

        def best_of(split: Split) -> Tensor:
            return _best(probes[chosen : chosen + 1], source.ordered(split))[0]

        columns = accuracies(best_of("validation"), subject.labels("validation"), classes, "attentive")
        if subject.is_tested:
            columns[ATTENTIVE.test_column] = _top1(best_of("test"), subject.labels("test"))
        return _Judged(scores[chosen], columns, RATES[chosen])


class _Judged(NamedTuple):
    """The accuracies of a probe."""

    held_out: float
    """On the tenth of the training images that chooses."""
    columns: dict[str, Value]
    """On the validation images and, where final figures are due, on the test images, by column."""
    rate: float
    """The probe's learning rate."""


class AttentiveProbe(nn.Module):
    """Attentive pooling and a linear map without bias."""

    def __init__(self, width: int, classes: int, heads: int):
        super().__init__()
        self.pooling = AttentivePooling(width, heads)
        self.linear = nn.Linear(width, classes, bias=False)

    def forward(self, tokens: "Float[Tensor, 'batch tokens width']") -> "Float[Tensor, 'batch classes']":
        """Class scores of normalised tokens."""
        return self.linear(self.pooling(tokens))


def fit_probes(
    epoch: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
    width: int,
    classes: int,
    heads: int,
    epochs: int,
    steps: int,
    device: torch.device,
    rates: Sequence[float] = RATES,
) -> list[AttentiveProbe]:
    """A probe for each peak learning rate, all from the same weights, trained side by side by AdamW.

    Args:
        epoch: the batches of an epoch by its number: normalised tokens (B, N, W) and labels (B).
        width: of a token.
        classes: number of classes.
        heads: of the attention.
        epochs: number of epochs.
        steps: batches of an epoch, for the cosine schedule without warm-up.
        device: where the batches are.
        rates: the peak learning rates.

    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of("attentive probe"))
        start = AttentiveProbe(width, classes, heads).to(device)
    probes = [copy.deepcopy(start) for _ in rates]
    groups = [{"params": [*probe.parameters()], "lr": rate} for probe, rate in zip(probes, rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    with torch.enable_grad():
        for number in range(epochs):
            for tokens, labels in epoch(number):
                with torch.autocast(device.type, enabled=False):
                    losses = [F.cross_entropy(probe(tokens), labels) for probe in probes]
                    torch.stack(losses).sum().backward()  # no probe's gradient depends on another
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return probes


@torch.no_grad()
def _best(probes: Sequence[AttentiveProbe], batches: "Iterable[Tensor]") -> "list[Int[Tensor, 'images best']]":
    """See `best_classes`; of each probe."""
    parts = [list[Tensor]() for _ in probes]
    for tokens in batches:
        with torch.autocast(tokens.device.type, enabled=False):
            for part, probe in zip(parts, probes, strict=True):
                part.append(best_classes(probe(tokens)))
    return [torch.cat(part) for part in parts]


def _top1(best: "Int[Tensor, 'images best']", y: "Int[Tensor, ' images']") -> float:
    return (best[:, 0] == y).double().mean().item()
