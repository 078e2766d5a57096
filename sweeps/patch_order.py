"""Which patch order gives the best representation?

Question   An autoregressive model needs an order. The paper (section 4.4) finds the raster near-optimal among raster,
           nested raster, round-robin and random. Does this hold for your data? And what matters: that neighbours in
           the order are neighbours in the image, or the reading direction? Hence also columns, snake, Hilbert curve
           and spiral.
Orders     raster         row by row, as one reads
           column         column by column
           snake          row by row, every second row backwards: each patch touches the one before
           nested_raster  block by block, raster order inside each
           round_robin    one patch from each block in turn: the whole image is covered early
           hilbert        a space-filling curve: each patch is near many of those just before it
           spiral         from the outside in, clockwise
           random         one fixed order for all images, drawn once
Design     Every order with the same seeds, against the raster: same initial weights, same batches, same noise.
Objective  The linear probe's accuracy on frozen features.
Cost       The default (digits, a nano model, 8 orders × 3 seeds of 15 epochs): some 3 minutes on 2 cores.
Result     RESULTS/patch_order/trials and curves. The same command with more --seeds adds seeds; from six seeds on,
           the report says which differences are significant.
"""

from darl.cli.flags import Options
from darl.cli.sweep import run_sweep
from darl.model.orders import Order
from darl.sweep.design import Design
from darl.variants import require


def patch_order(options: Options) -> Design:
    """A design with every patch order."""
    base = options.experiment()
    ordered, kind = base.causal or base.objective.causal_by_default, base.objective.kind
    require(ordered, "objective", "read patches in an order, as mse and diffusion do", kind)
    return Design(
        name="patch_order",
        question="Which patch order gives the best representation?",
        base=base,
        cells={kind: {"order": kind} for kind in Order.kinds()},
        baseline="raster",
        seeds=options.flags.seeds,
        trials=options.flags.trials,
    )


if __name__ == "__main__":
    run_sweep(patch_order, __doc__, varies=["order"], on_digits={"epochs": 15})
