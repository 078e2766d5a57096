"""Random orders: in training, the patches of each image are read in an order of its own, drawn anew at every step.

With one order for all images a model knows by counting which patch comes next. With an order of its own for each image
it must be told, and the three ways to tell it are the variants here. All read causally along the drawn order, so that
an output has seen the patches before its own in that order, its own position, and nothing else:

    two streams            content [start, x_1 … x_{N-1}]; queries q_1 … q_N, q_t at the position of x_t. Both pass the
    (XLNet)                same blocks; both read the content alone, q_t up to x_{t-1}. Predicted at q_t. Twice
                           the tokens.
    position instruction   [start, p_1, x_1, p_2, x_2 … p_N], p_t at the position of x_t. Predicted at p_t. Twice the
    (RandAR)               tokens, and each reads twice as many.
    target-aware position  [start + a_1, x_1 + a_2 … x_{N-1} + a_N], a_t a learned vector for the position of x_t. No
    (RAR)                  further cost.

Features are read without mask from patches alone: from the content stream, without instructions or target positions.
No loss reads what the last block makes of the content in two streams, nor of patches beside instructions: there an
earlier block may have better features, which the probes try. Validation losses are those of the orders that the end of
training has.

An order may be *annealed* from random to the fixed one, `TrunkConfig.order` (RAR): the share r of images that are read
in a random order is 1 up to `random_until` of the training, 0 from `fixed_from` on, and falls linearly between. With
both 1 it is 1 to the end. RAR has 0.5 and 0.75. An order depends on seed, step, row and r alone, and r on the step.

The orders that are drawn may be *learned* (`Learned`): more often those that make the loss small, or those that make it
large. They also depend on what was learned before the step.

Sources: XLNet (Yang et al. 2019, arXiv 1906.08237, section 2.3, and `two_stream_rel_attn` of the authors' code), by
which DARL reads random orders (arXiv 2403.05196, appendix); RandAR (Pang et al. 2024, arXiv 2412.01827, section
3); RAR (Yu et al. 2024, arXiv 2411.00776, section 3). Unlike in XLNet every patch is predicted, not a sixth.

Layouts: B batch, N patches, W width, P pixel values of a patch. `at` (B, n): indices into the patch order.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.aspects import Aspect, changes
from darl.model.order_policy import OrderPolicy
from darl.model.order_readers import InstructedReader, OrderReader, TargetAwareReader, TwoStreamReader
from darl.model.positions import Absent
from darl.variants import Variant, require

if TYPE_CHECKING:
    from darl.model.encoder_config import TrunkConfig

__all__ = ["DRAWN", "Learned", "PositionInstruction", "RandomOrder", "TargetAware", "TwoStream"]

DRAWN = "order"
"""The name of the drawn orders (B, N) among the draws of a batch."""


@dataclass(frozen=True, kw_only=True)
class RandomOrder(Variant):
    """An order for each image, and how the model is told which patch comes next."""

    family: ClassVar[str] = "random_order"
    needs_position: ClassVar[bool] = True
    """Whether the model is told by the position encoding, so that there must be one."""
    excludes: ClassVar[tuple[str, ...]] = ("attention", "next_patches", "condition", "token_input")
    """The trunk's options that do not go with it."""

    def check(self, config: "TrunkConfig") -> None:
        """Raise UserError where it does not fit the trunk."""
        own = f"random_order {self.kind}"
        for field in self.excludes:
            require(getattr(config, field) is None, field, f"be left out for {own}", getattr(config, field))
        require(not config.causal, "causal", f"be false for {own}, whose features are read without mask", True)
        has = not (self.needs_position and isinstance(config.position, Absent))
        require(has, "position", f"be another for {own}, which tells by it what comes next", config.position.kind)

    def policy(self, patches: int) -> OrderPolicy | None:
        """The distribution of the orders before the first step, where it is learned; None where it is not."""
        return None

    @abstractmethod
    def draw(
        self, patches: int, progress: float, policy: OrderPolicy | None = None
    ) -> Callable[[int, torch.Generator], Tensor]:
        """(n, generator) → n orders (n, N), each a permutation of the N indices into the patch order.

        policy: the distribution that was learned.
        """

    @abstractmethod
    def build(self, config: "TrunkConfig") -> OrderReader:
        """The module that reads so, with what it learns; initialised by `reset_parameters`."""

    @abstractmethod
    def trunk_flops(self, config: "TrunkConfig") -> float:
        """Floating-point operations of the trunk's matrix products for one image, forward, in training."""


@dataclass(frozen=True, kw_only=True)
class Annealed(RandomOrder):
    """Every order is as probable as another, up to when all images are read in the fixed one.

    random_until: fraction of the training up to which every order is random, in [0, 1].
    fixed_from: fraction from which every image is read in the fixed order, in [random_until, 1]; 1 with `random_until`
        1 is never.
    """

    random_until: float = changes(Aspect.INPUT, default=1.0)
    fixed_from: float = changes(Aspect.INPUT, default=1.0)

    def __post_init__(self) -> None:
        require(0 <= self.random_until <= 1, "random_order.random_until", "be in [0, 1]", self.random_until)
        fits = self.random_until <= self.fixed_from <= 1
        remedy = f"be in [random_until, 1], here [{self.random_until:g}, 1]"
        require(fits, "random_order.fixed_from", remedy, self.fixed_from)

    def share(self, progress: float) -> float:
        """r, the share of images in a random order, at a progress in [0, 1] of the training."""
        if progress <= self.random_until:
            return 1.0
        return max(0.0, (self.fixed_from - progress) / max(self.fixed_from - self.random_until, 1e-12))

    def draw(
        self, patches: int, progress: float, policy: OrderPolicy | None = None
    ) -> Callable[[int, torch.Generator], Tensor]:
        """See `RandomOrder.draw`."""
        share = self.share(progress)

        def order(count: int, generator: torch.Generator) -> Tensor:
            keys = torch.rand((count, patches + 1), generator=generator, device=generator.device)
            fixed = torch.arange(patches, device=generator.device)
            return torch.where(keys[:, :1] < share, keys[:, 1:].argsort(1), fixed)

        return order


@dataclass(frozen=True, kw_only=True)
class TwoStream(Annealed):
    """XLNet's two streams: the queries begin as one learned vector and read the content with the same weights.

    Unlike XLNet's, which only has relative positions, the vector is at its patch's position, as RandAR's is: a query
    that reads the start token alone would else not know where its patch is.
    """

    kind: ClassVar[str] = "two_stream"

    def build(self, config: "TrunkConfig") -> OrderReader:
        """See `RandomOrder.build`."""
        return TwoStreamReader(config.size.width)

    def trunk_flops(self, config: "TrunkConfig") -> float:
        """N - 1 patches to embed, and twice the blocks for N tokens: queries have no use for their keys and values."""
        return (config.patches - 1) * config.embed_flops + 2 * config.blocks_flops(config.patches)


@dataclass(frozen=True, kw_only=True)
class PositionInstruction(Annealed):
    """RandAR's position instruction tokens: one learned vector, at the position of the patch that comes next.

    As in the authors' code, rotary positions rotate the vector itself, and then its queries and keys as all others.
    """

    kind: ClassVar[str] = "position_instruction"

    def build(self, config: "TrunkConfig") -> OrderReader:
        """See `RandomOrder.build`."""
        return InstructedReader(config.size.width)

    def trunk_flops(self, config: "TrunkConfig") -> float:
        """N - 1 patches to embed, and the blocks for 2N tokens."""
        return (config.patches - 1) * config.embed_flops + config.blocks_flops(2 * config.patches)


@dataclass(frozen=True, kw_only=True)
class TargetAware(Annealed):
    """RAR's target-aware position embedding: each token also has a learned vector for the patch after it."""

    kind: ClassVar[str] = "target_aware"
    needs_position: ClassVar[bool] = False

    def build(self, config: "TrunkConfig") -> OrderReader:
        """See `RandomOrder.build`."""
        return TargetAwareReader(config.patches, config.size.width)

    def trunk_flops(self, config: "TrunkConfig") -> float:
        """As for a fixed order."""
        return config.trunk_flops(config.patches - 1)


@dataclass(frozen=True, kw_only=True)
class Learned(RandomOrder):
    """Target-aware, with orders drawn from a distribution that is trained beside the model (`OrderPolicy`).

    seeks: `low_loss` or `high_loss`, what the orders are to lead to. By the chain rule an image's likelihood is the
    same in every order for a model that has learned all; the mean squared error is not, nor is what must be learned for
    it. Which of the two gives better features is open. rate: how far one optimiser step moves the patches' scores,
    above 0; they begin equal, so orders begin uniform. prior: how much higher the score of the fixed order's first
    patch begins than that of its last, 0 or more (REOrder: 1). Orders are drawn to the end.
    """

    kind: ClassVar[str] = "learned"
    needs_position: ClassVar[bool] = False
    seeks: str = changes(Aspect.INPUT, default="low_loss")
    rate: float = changes(Aspect.INPUT, default=0.1)
    prior: float = changes(Aspect.INPUT, default=0.0)

    def __post_init__(self) -> None:
        require(self.seeks in _SIGNS, "random_order.seeks", f"be {' or '.join(_SIGNS)}", self.seeks)
        require(0 < self.rate <= 100, "random_order.rate", "be above 0 and at most 100", self.rate)
        require(0 <= self.prior <= 100, "random_order.prior", "be between 0 and 100", self.prior)

    def policy(self, patches: int) -> OrderPolicy:
        """See `RandomOrder.policy`."""
        return OrderPolicy(patches, sign=_SIGNS[self.seeks], rate=self.rate, prior=self.prior)

    def draw(
        self, patches: int, progress: float, policy: OrderPolicy | None = None
    ) -> Callable[[int, torch.Generator], Tensor]:
        """See `RandomOrder.draw`."""
        return (policy or self.policy(patches)).draw

    def build(self, config: "TrunkConfig") -> OrderReader:
        """See `RandomOrder.build`."""
        return TargetAwareReader(config.patches, config.size.width)

    def trunk_flops(self, config: "TrunkConfig") -> float:
        """As for a fixed order."""
        return config.trunk_flops(config.patches - 1)


_SIGNS = {"low_loss": -1, "high_loss": 1}
