"""Which position encoding gives the best representation?

Question   The paper (section 4.2) finds that 2D rotary position embedding matters most for causal Transformers, though
           these could learn positions without any encoding. Which encoding is best for your data, and which one works
           on images that are larger than those of training?
Design     Every encoding, with the causal mask and without it, with the same seeds, against no encoding at all.
           Without the mask a model sees the patch that it has to predict, and can copy it: these cells show how much an
           encoding helps when the task itself teaches little. They are compared only with each other. With --objective
           mae or masked, which have no causal mask, there are only these, and no patch to copy.
Objective  The linear probe's accuracy on frozen features. Also the same probe, trained at the usual size, on
           validation images enlarged 1.5 times (`probe_top1_enlarged`): rotary encodings apply to larger grids
           unchanged, the learned one is interpolated.
Cost       The default (digits, a nano model, 10 cells × 3 seeds of 10 epochs): some 3 minutes on 2 cores.
Result     RESULTS/position_encoding/trials and curves.
"""

from darl.cli.flags import Options
from darl.cli.sweep import run_sweep
from darl.model.positions import Position
from darl.sweep.design import Design
from darl.sweep.space import Point

MASKS = {"causal": True, "no mask": False}


def position_encoding(options: Options) -> Design:
    """A design with every position encoding, with and without the causal mask."""
    base = options.experiment()
    masks = {mask: causal for mask, causal in MASKS.items() if not (causal and base.objective.bidirectional)}
    cells: dict[str, Point] = {
        f"{kind}, {mask}": {"position": kind, "causal": causal}
        for mask, causal in masks.items()
        for kind in Position.kinds()
    }
    return Design(
        name="position_encoding",
        question="Which position encoding gives the best representation?",
        base=base,
        cells=cells,
        groups={label: label.rpartition(", ")[2] for label in cells},
        baselines={mask: f"absent, {mask}" for mask in masks},
        enlarged=True,
        seeds=options.flags.seeds,
        trials=options.flags.trials,
    )


if __name__ == "__main__":
    run_sweep(position_encoding, __doc__, varies=["position", "causal"], on_digits={"epochs": 10})
