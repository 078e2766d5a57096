"""Are the features worth their training?

Question   How good are a pretrained DARL's features on your images under the field's protocols, beside what they must
           be compared with: raw pixels, the same model before training, MAE, masked regression (as SimMIM), DARL's own
           mean squared error, and the same encoder trained on the labels?
Design     One cell, the model that the flags describe, and its yardsticks: each rival at the same number of image
           passes and at equal floating-point operations, on the same seeds.
Objective  The linear probe's accuracy decides; every protocol of --protocols is in the tables and in one figure. With
           finetune among them, `init_finetune_top1` is training from scratch with the same fine-tuning budget.
Cost       27 trials by default (digits, 9 cells × 3 seeds; 36 epochs or as many operations): see `--dry-run`.
Result     RESULTS/features/trials and curves; figures/protocols.png has every accuracy beside the yardsticks.
"""

import argparse

from darl.cli.flags import Options
from darl.cli.recipes import DIGITS
from darl.cli.sweep import run_sweep
from darl.sweep.design import Design


def features(options: Options) -> Design:
    """The model of the flags as the only cell."""
    base = options.experiment()
    name = f"DARL, {base.objective.kind}"
    return Design(
        name="features",
        question="Are the features worth their training?",
        base=base,
        cells={name: {}},
        baseline=name,
        seeds=options.flags.seeds,
        trials=options.flags.trials,
        evaluations=1,
    )


def with_yardsticks(parser: argparse.ArgumentParser) -> None:
    """The yardsticks are this sweep's question, so they are always there."""
    parser.set_defaults(yardsticks=True)


if __name__ == "__main__":
    run_sweep(features, __doc__, seeds=3, on_digits=DIGITS, flags=with_yardsticks)
