"""What should the model predict, and how?

Question   Should the next patch be predicted by mean squared error or by diffusion? How deep is the denoising decoder,
           does it get gamma, does it predict the clean patch or the noise, are the target's pixels normalised in each
           patch, and which patch size is best? The paper (section 4.3) takes one block, no gamma, the clean patch.
           And its rivals: is it better to predict hidden patches from visible ones, read in both directions, by a
           masked autoencoder (MAE) or by masked regression (as SimMIM)? Or the next patch's embedding (NEPA)? And
           does it help to read a random prefix without mask while training (AIM)?
Design     All combinations with the same seeds. At each patch size they are compared with the paper's choice; the
           paper's choices at the two patch sizes are compared with each other.
Objective  The linear probe's accuracy on frozen features: losses of different targets cannot be compared.
Cost       The default (digits, a nano model, 50 cells × 2 seeds of 8 epochs): some 7 minutes on 2 cores.
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
GAMMA = {"": False, "gamma-conditioned": True}
PREDICTION = {"": "x0", "predicts noise": "eps"}
TARGET = {"": False, "normalised": True}
MASKED = ("mae", "masked")


def objective(options: Options) -> Design:
    """Every objective, at the experiment's patch size and at twice that."""
    base = options.experiment()
    twice, size = 2 * base.model.patch_size, base.image_size
    require(
        size % twice == 0 and size > twice,
        "patch_size",
        f"divide image_size {size}, also when doubled, and leave more than one patch",
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
    """The points by the words of their labels; the label of the paper's choice is `diffusion` alone."""
    points: dict[tuple[str, ...], Point] = {}
    for target in TARGET:
        text = f"mse:normalize_target={TARGET[target]}"
        points[_words("mse", target)] = {"objective": text, "noise": None}
    for depth, gamma, prediction, target in product(DEPTHS, GAMMA, PREDICTION, TARGET):
        fields = f"decoder_depth={DEPTHS[depth]},gamma_conditioning={GAMMA[gamma]},prediction={PREDICTION[prediction]}"
        text = f"diffusion:{fields},normalize_target={TARGET[target]}"
        points[_words("diffusion", depth, gamma, prediction, target)] = {"objective": text, "noise": noise}
    for kind, target in product(MASKED, TARGET):
        text = f"{kind}:normalize_target={TARGET[target]}"
        points[_words(kind, target)] = {"objective": text, "noise": None, "causal": False}
    points[_words("nepa")] = {"objective": "nepa", "noise": None}
    prefix: Point = {"attention": "prefix", "causal": False}
    points[_words("mse", "prefix")] = {"objective": "mse", "noise": None, **prefix}
    points[_words("diffusion", "prefix")] = {"objective": "diffusion", "noise": noise, **prefix}
    return points


def _words(*words: str) -> tuple[str, ...]:
    return tuple(word for word in words if word)


if __name__ == "__main__":
    run_sweep(objective, __doc__, varies=["objective", "attention"], seeds=2, on_digits={"epochs": 8})
