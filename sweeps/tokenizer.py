"""Do discrete tokens help, as input, as target, or as both?

Question   DARL reads and predicts pixels. BEiT and iGPT predict tokens of a discrete vocabulary, language models read
           them too. The paper (section 4.3) finds that tokens of a dVAE as input hurt, and leaves open when they help:
           under which vocabulary, which training length, which protocol?
Design     pixels → pixels (--objective, diffusion by default), pixels → tokens, tokens → pixels and tokens → tokens,
           for each vocabulary and two training lengths (a quarter of --epochs, and all), with the same seeds. At each
           length the cells are compared with pixels → pixels.
Tokens     Of discrete VAEs (`darl tokenizer`), one for each vocabulary, trained first on the same training images with
           the same augmentation. All seeds share them, so the intervals do not hold what another tokenizer would give.
Objective  The linear probe's accuracy (on the digits, with 5 labels a class: all labels need little representation);
           the tables have every protocol of --protocols.
Cost       The default: 2 tokenizers, then 14 cells × 3 seeds of 6 or 24 epochs (digits): see --dry-run.
Result     RESULTS/tokenizer/trials and curves; RESULTS/tokenizer_tokenizers has the tokenizers, and their
           reconstructions as figures.
"""

import argparse

from darl.cli.flags import Options
from darl.cli.parser import whole
from darl.cli.recipes import DIGITS
from darl.cli.sweep import run_sweep
from darl.cli.tokenizer import chosen
from darl.experiment import Experiment
from darl.metrics import FEW_SHOT_5, PROBE
from darl.sweep.design import Design
from darl.sweep.space import Point
from darl.sweep.wording import several
from darl.training.tokenizer import tokenizer_experiment
from darl.variants import require

PIXELS = "pixels → pixels"


def tokenizer(options: Options) -> Design:
    """The four combinations for each vocabulary and training length."""
    base, flags = options.experiment(), options.flags
    own = base.objective.kind
    require(not base.objective.needs_tokenizer, "objective", "be that of pixels → pixels, as mse or diffusion", own)
    lengths, uses = sorted({max(1, base.epochs // 4), base.epochs}), _uses(options)
    cells: dict[str, Point] = {}
    groups: dict[str, str] = {}
    for epochs in lengths:
        group = several(epochs, "epochs")
        for words, point in uses.items():
            label = f"{words}, {group}"
            cells[label], groups[label] = {**point, "epochs": epochs}, group
    return Design(
        name="tokenizer",
        question="Do discrete tokens help, as input, as target, or as both?",
        base=base,
        metric=(FEW_SHOT_5 if base.data.startswith("digits") else PROBE).column,
        cells=cells,
        groups=groups,
        baselines={group: f"{PIXELS}, {group}" for group in groups.values()},
        across="training length" if len(lengths) > 1 else None,
        seeds=flags.seeds,
        trials=flags.trials,
        evaluations=1,
    )


def _uses(options: Options) -> dict[str, Point]:
    """What each use of tokens sets, by its words."""
    uses: dict[str, Point] = {PIXELS: {}}
    for training in trainings(options):
        assert training.tokenizer is not None
        named, vocabulary = {"tokenizer": str(training.tokenizer)}, training.tokenizer.vocabulary
        predicted = {"objective": "tokens", "noise": None}
        uses[f"pixels → {vocabulary} tokens"] = named | predicted
        uses[f"{vocabulary} tokens → pixels"] = named | {"token_input": True}
        uses[f"{vocabulary} tokens → tokens"] = named | predicted | {"token_input": True}
    return uses


def trainings(options: Options) -> list[Experiment]:
    """The training of each tokenizer."""
    base, flags = options.experiment(), options.flags
    epochs = flags.tokenizer_epochs or base.epochs
    return [tokenizer_experiment(base, chosen(flags.tokenizer, size), epochs=epochs) for size in flags.vocabularies]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that only this sweep has."""
    add = parser.add_argument
    add("--vocabularies", nargs="+", type=whole, default=[16, 64], help="numbers of tokens")
    add("--tokenizer", default="dvae", help="the tokenizers' other settings, as dvae:width=64,kl_weight=0.01")
    add("--tokenizer-epochs", type=whole, help="epochs of their trainings (default: --epochs)")


if __name__ == "__main__":
    run_sweep(tokenizer, __doc__, on_digits={**DIGITS, "epochs": 24}, flags=add_flags, tokenizers=trainings)
