"""`darl tokenizer`: train a discrete VAE, which gives each patch one of V tokens."""

import argparse
from typing import TYPE_CHECKING

from darl.cli.flags import Options, add_experiment_flags
from darl.cli.parser import whole
from darl.cli.run_flags import add_run_flags, results_root, workers_of
from darl.storage.address import is_remote, require_name
from darl.training.parallel import microbatch_size
from darl.training.trackers.base import check
from darl.variants import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from darl.data import Dataset
    from darl.experiment import Experiment
    from darl.model.tokenizers.base import LearnedTokenizer, TokenizerModel
    from darl.results.tables import Results

SHOWN = 12
"""Images in a figure."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl tokenizer`."""
    parser.epilog = (
        "The checkpoint is for darl pretrain --tokenizer, on images with the same patch size. The figure has held-out\n"
        "images above their reconstructions. Errors are of normalised pixels: 1 is that of their mean."
    )
    add_experiment_flags(parser, of_model=False)
    add = parser.add_argument_group("the tokenizer").add_argument
    add("--vocabulary", type=whole, help="number of tokens (default: 512)")
    add("--tokenizer", default="dvae", help="its other settings, as dvae:width=64,depth=2,kl_weight=0.01")
    add_run_flags(parser)
    parser.add_argument("--evaluations", type=whole, default=4, help="evaluations during the run, evenly spaced")
    parser.add_argument("--no-ray", action="store_true", help="the plain loop in this process, without Ray")


def run(flags: argparse.Namespace) -> None:
    """Train one tokenizer, write its rows, and draw its reconstructions."""
    results = results_root(flags.results)
    require_name(flags.name or "tokenizer", "name")
    tokenizer = chosen(flags.tokenizer, flags.vocabulary)
    from darl.training.tokenizer import tokenizer_experiment

    experiment = tokenizer_experiment(Options(flags).experiment(), tokenizer)
    require(not (flags.no_ray and flags.workers > 1), "workers", "be 1 with --no-ray", flags.workers)
    microbatch_size(experiment, flags.workers)
    workers_of(flags)
    check(flags.log, results)
    if flags.no_ray:
        from darl.cli.finetune import require_gpu

        require(not is_remote(results), "results", "be a local folder with --no-ray", flags.results)
        require_gpu(flags.gpus_per_worker)
    _train(experiment, flags)


def chosen(text: str, vocabulary: int | None) -> "LearnedTokenizer":
    """The tokenizer of a text and a vocabulary, where one is given. Raises UserError."""
    from dataclasses import replace

    from darl.model.tokenizers.base import LearnedTokenizer, Tokenizer

    tokenizer = Tokenizer.parse(text)
    remedy = "be one that is trained, as dvae"
    require(isinstance(tokenizer, LearnedTokenizer), "tokenizer", remedy, text)
    assert isinstance(tokenizer, LearnedTokenizer)
    return tokenizer if vocabulary is None else replace(tokenizer, vocabulary=vocabulary)


def _train(experiment: "Experiment", flags: argparse.Namespace) -> None:
    from darl.cli.load import load_data
    from darl.cli.pretraining import Evaluations, train_and_record
    from darl.evaluation.reconstruction import TokenizerEvaluation
    from darl.results.tables import Results

    assert experiment.tokenizer is not None
    dataset = load_data(experiment, flags)
    evaluation = TokenizerEvaluation(experiment.tokenizer.vocabulary, experiment.model.patch_size)
    evaluations = Evaluations(full=evaluation, on_the_way=evaluation, count=flags.evaluations)
    trained = train_and_record(experiment, dataset, evaluations, flags, name="tokenizer", initial=None)
    describe(trained, dataset, Results(results_root(flags.results), flags.name or "tokenizer"))


def figure_of(experiment: "Experiment") -> str:
    """The name of a tokenizer's figure in its folder of results."""
    return f"figures/reconstructions-{experiment.trial_id}.png"


def describe(experiment: "Experiment", dataset: "Dataset", results: "Results") -> None:
    """Print a trained tokenizer's figures beside the yardsticks', and draw its reconstructions of held-out images."""
    import torch

    from darl.data import evaluation_batches
    from darl.evaluation.reconstruction import patch_means_error, reconstruct
    from darl.metrics import RECONSTRUCTION
    from darl.storage.address import below
    from darl.training.checkpoint_store import CHECKPOINTS
    from darl.training.tokenizer import read_tokenizer

    assert experiment.tokenizer is not None
    patch_size, vocabulary = experiment.model.patch_size, experiment.tokenizer.vocabulary
    own = read_tokenizer(below(results.path, f"{CHECKPOINTS}/{experiment.trial_id}"), experiment.channels, patch_size)
    model = experiment.tokenizer.build(experiment.channels, patch_size)
    model.load_state_dict(own.weights)
    model.eval()

    def held_out(batch_size: int) -> "Iterator[torch.Tensor]":
        return evaluation_batches(dataset, dataset.validation, batch_size=batch_size, device=torch.device("cpu"))

    found = reconstruct(model, vocabulary, patch_size, held_out(512))
    of_mean, of_patches = patch_means_error(dataset, vocabulary, patch_size)
    shown = RECONSTRUCTION.format_value
    print(f"{experiment.tokenizer}, {patch_size} pixels a patch, weights {own.fingerprint}:")
    print(f"reconstruction error {shown(found.error)} on {len(dataset.validation):,} images not trained on "
          f"(the mean image {shown(of_mean)}, k-means of {vocabulary} patches {shown(of_patches)})")  # fmt: skip
    in_use = int((found.counts > 0).sum())
    print(f"{in_use} of {vocabulary} tokens in use, perplexity {found.perplexity:.1f}")
    figure = figure_of(experiment)
    results.write_file(figure, drawn(model, next(iter(held_out(SHOWN))), dataset, patch_size))
    print(f"reconstructions: {below(results.path, figure)}")


def drawn(model: "TokenizerModel", images: "torch.Tensor", dataset: "Dataset", patch_size: int) -> bytes:
    """A PNG: normalised images (n, C, H, W), and below each its reconstruction."""
    from io import BytesIO

    import torch
    import torch.nn.functional as F
    from torchvision.utils import save_image

    from darl.model.patches import grid_of

    with torch.no_grad():
        grid = grid_of((images.shape[2], images.shape[3]), patch_size)
        both = torch.cat([images, model.decode(model.tokens(images), grid)])
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    pixels = (both * std + mean).clamp(0, 1)
    enlarged = F.interpolate(pixels, scale_factor=max(1, round(96 / images.shape[3])), mode="nearest")
    stream = BytesIO()
    save_image(enlarged, stream, format="png", nrow=len(images), padding=4, pad_value=0.5)
    return stream.getvalue()
