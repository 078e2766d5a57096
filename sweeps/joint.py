"""Which settings are best together, and which of them matter?

Question   Noise schedule, patch order, position encoding and learning rate are usually tuned one after another. Is
           their best combination a different one, and to which of them is the probe sensitive?
Space      Conditional: the schedule is a Beta(a, b), where a and b are chosen too, or the linear or the cosine one;
           every order; every encoding; the peak learning rate. The paper's settings run first.
Objective  The linear probe's accuracy on frozen features.
Search     As in noise_schedule.py. At the end the report shows each parameter's importance, by Optuna's fANOVA over
           the trials that ran all their epochs.
Cost       The default (digits, a nano model, 16 trials of 20 epochs, 3 fresh seeds): some 5 minutes on 2 cores.
Result     RESULTS/joint/trials and curves.
"""

from darl.cli.flags import Options
from darl.cli.sweep import require_noise, run_sweep
from darl.experiment import Experiment
from darl.model.noise import PAPER, Noise
from darl.model.orders import Order
from darl.model.positions import Position
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape, Choice, LogUniform, Point, Space


def joint_space(base: Experiment) -> Space:
    """The dimensions of the search; the learning rate lies within a factor of 8 of the base's."""
    noises = {kind: {"noise": BetaByShape()} if kind == "beta" else {} for kind in Noise.kinds()}
    return {
        "noise": Choice(options=noises),
        "order": Choice(options={kind: {} for kind in Order.kinds()}),
        "position": Choice(options={kind: {} for kind in Position.kinds()}),
        "learning_rate": LogUniform(low=base.learning_rate / 8, high=base.learning_rate * 8),
    }


def joint_first(base: Experiment) -> dict[str, Point]:
    """The known point that runs first: the paper's settings."""
    paper = {"noise": "beta", "noise.a": PAPER.a, "noise.b": PAPER.b, "order": "raster", "position": "rope2d"}
    return {"paper": {**paper, "learning_rate": base.learning_rate}}


def joint(options: Options) -> Search:
    """The search that the flags describe."""
    flags, base = options.flags, options.experiment()
    require_noise(base)
    return Search(
        name="joint",
        question="Which noise schedule, patch order, position encoding and learning rate are best together?",
        base=base,
        space=joint_space(base),
        first=joint_first(base),
        baseline="paper",
        seeds=flags.seeds,
        trials=flags.trials or flags.usual_trials,
    )


if __name__ == "__main__":
    run_sweep(joint, __doc__, trials=16, seeds=4, varies=["noise", "order", "position"], on_digits={"epochs": 20})
