"""Which patch order gives the best representation?

Question   An autoregressive model needs an order. The paper (section 4.4) finds the raster near-optimal among raster,
           nested raster, round-robin and random. Does this hold for your data? And what matters: that neighbours in
           the order are neighbours in the image, or the reading direction? Hence also columns, snake, Hilbert curve
           and spiral. And does an order of its own for each image, drawn anew at every step, teach more than one order
           for all?
One order  raster         row by row, as one reads
for all    column         column by column
           snake          row by row, every second row backwards: each patch touches the one before
           nested_raster  block by block, raster order inside each
           round_robin    one patch from each block in turn: the whole image is covered early
           hilbert        a space-filling curve: each patch is near many of those just before it
           spiral         from the outside in, clockwise
           random         one fixed order for all images, drawn once
One order  two_stream, position_instruction, target_aware: the ways of XLNet, RandAR and RAR to tell the model which
for each   patch comes next (darl/model/random_orders.py). annealed: RAR's whole recipe, target_aware that becomes the
           raster between half and three quarters of the training. learned and learned_hard: drawn from a distribution
           that is trained beside the model, towards a small loss and towards a large one. Their features are read
           without mask, those of the others with it; `--protocols linear:mask=removed` reads all without.
Design     Every order with the same seeds, against the raster: same initial weights, same batches, same noise.
Objective  The linear probe's accuracy on frozen features.
Cost       The default (digits, a nano model, 14 orders × 3 seeds of 15 epochs): some 3 minutes on 2 cores for the 8
           fixed orders, and twice as many operations for all: a step of two_stream and of position_instruction has
           1.8 times those of another.
Result     RESULTS/patch_order/trials and curves; column `random_order` tells orders for each image apart. The figure
           `sequence` shows the loss along the sequence and in place (val_loss_by_step and val_loss_by_patch in curves),
           `orders` the paths. `darl orders` ranks the orders before any training, and with --results says whether that
           ranking foretold the answer.
           The same command with more --seeds adds seeds; from six seeds on, the report says which differences are
           significant.
"""

import argparse

from darl.cli.flags import Options
from darl.cli.sweep import run_sweep
from darl.experiment import Experiment
from darl.model.orders import Order
from darl.model.positions import Absent
from darl.model.random_orders import Learned, RandomOrder, TargetAware
from darl.sweep.design import Design
from darl.sweep.space import Point
from darl.variants import require

ANNEALED = TargetAware(random_until=0.5, fixed_from=0.75)
"""RAR's."""


def patch_order(options: Options) -> Design:
    """A design with every patch order."""
    base, which = options.experiment(), options.flags.orders
    ordered, kind = base.causal or base.objective.causal_by_default, base.objective.kind
    require(ordered, "objective", "read patches in an order, as mse and diffusion do", kind)
    cells: dict[str, Point] = {kind: {"order": kind} for kind in Order.kinds()}
    if which != "fixed":
        drawn = _drawn(base)
        takes = which == "all" or base.objective.takes_random_order
        require(takes, "objective", "be mse or diffusion for --orders drawn", kind)
        remedy = f"be fixed where one of {', '.join(RandomOrder.excludes)} is set"
        require(which == "all" or bool(drawn), "--orders", remedy, which)
        cells = ({"raster": cells["raster"]} if which == "drawn" else cells) | drawn
    return Design(
        name="patch_order",
        question="Which patch order gives the best representation?",
        base=base,
        cells=cells,
        baseline="raster",
        seeds=options.flags.seeds,
        trials=options.flags.trials,
    )


def _drawn(base: Experiment) -> dict[str, Point]:
    """The orders for each image that the objective and the other settings allow."""
    if not base.objective.takes_random_order or any(getattr(base, field) is not None for field in RandomOrder.excludes):
        return {}
    kinds = RandomOrder.kinds()
    fit = {name: kind() for name, kind in kinds.items() if not (kind.needs_position and base.position == Absent())}
    every = {**fit, "learned_hard": Learned(seeks="high_loss"), "annealed": ANNEALED}
    return {label: {"order": "raster", "random_order": str(own), "causal": False} for label, own in every.items()}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that only this sweep has."""
    which = "fixed: one order for all images; drawn: one for each image, beside the raster"
    parser.add_argument("--orders", default="all", choices=["all", "fixed", "drawn"], help=which)


if __name__ == "__main__":
    run_sweep(patch_order, __doc__, varies=["order", "random_order"], on_digits={"epochs": 15}, flags=add_flags)
