"""What should the model predict, and how?

Question   Next patches by mean squared error, or by diffusion? With how deep a denoising decoder, told gamma or not,
           predicting the clean patch or the noise, of pixels as they are or normalised in each patch, and for patches
           of which size? The paper (section 4.3) takes one block, no gamma, the clean patch.
Design     All combinations with the same seeds; for each patch size against the paper's choice, and that choice of the
           patch sizes against each other.
Objective  The linear probe's accuracy on frozen features: losses of different targets cannot be compared.
Cost       The default (digits, a nano model, 36 cells × 2 seeds of 8 epochs): some 5 minutes on 2 cores.
Result     RESULTS/objective/trials and curves.
"""

from itertools import product

from darl.cli.flags import Options
from darl.cli.sweep import run_sweep
from darl.model.noise import Beta
from darl.sweep.design import Design
from darl.sweep.space import Point
from darl.variants import require

DEPTHS = {"": 1, "2 blocks": 2}
GAMMA = {"": False, "told gamma": True}
PREDICTION = {"": "x0", "noise": "eps"}
TARGET = {"": False, "normalised": True}


def objective(options: Options) -> Design:
    """Every objective at the usual patch size and at twice that."""
    base = options.experiment()
    twice, size = 2 * base.model.patch_size, base.image_size
    require(
        size % twice == 0 and size > twice,
        "--patch-size",
        f"be less than half of {size} and divide it twice",
        twice // 2,
    )
    noise = str(base.noise or Beta())
    cells: dict[str, Point] = {}
    groups: dict[str, str] = {}
    for patch_size in (base.model.patch_size, twice):
        group = f"patch {patch_size}"
        for words, point in _objectives(noise).items():
            label = ", ".join([*words, group])
            cells[label], groups[label] = point | {"model.patch_size": patch_size}, group
    return Design(
        name="objective",
        question="What should the model predict, and how?",
        base=base,
        cells=cells,
        groups=groups,
        baselines={group: f"diffusion, {group}" for group in groups.values()},
        across="patch size",
        seeds=options.flags.seeds,
        trials=options.flags.trials,
    )


def _objectives(noise: str) -> dict[tuple[str, ...], Point]:
    """Points by the words that name them; the paper's is `diffusion` alone."""
    found: dict[tuple[str, ...], Point] = {}
    for target in TARGET:
        text = f"mse:normalize_target={TARGET[target]}"
        found[_words("mse", target)] = {"objective": text, "noise": None}
    for depth, gamma, prediction, target in product(DEPTHS, GAMMA, PREDICTION, TARGET):
        fields = f"decoder_depth={DEPTHS[depth]},gamma_conditioning={GAMMA[gamma]},prediction={PREDICTION[prediction]}"
        text = f"diffusion:{fields},normalize_target={TARGET[target]}"
        found[_words("diffusion", depth, gamma, prediction, target)] = {"objective": text, "noise": noise}
    return found


def _words(*words: str) -> tuple[str, ...]:
    return tuple(word for word in words if word)


if __name__ == "__main__":
    run_sweep(objective, __doc__, varies=["--objective"], seeds=2, small_epochs=8)
