"""`darl pretrain`: train one model. Flags are checked as far as possible before data and tables are opened."""

import argparse

from darl.cli.flags import Options, add_experiment_flags
from darl.cli.parser import whole
from darl.cli.run_flags import add_protocols_flag, add_run_flags, results_root, workers_of
from darl.storage.address import is_remote, require_name
from darl.training.parallel import microbatch_size
from darl.training.trackers.base import check
from darl.variants import require


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl pretrain`."""
    add_experiment_flags(parser)
    add_run_flags(parser)
    parser.add_argument("--evaluations", type=whole, default=4, help="evaluations during the run, evenly spaced")
    add_protocols_flag(parser.add_argument, "before training and at the end")
    parser.add_argument("--no-ray", action="store_true", help="the plain loop in this process, without Ray")
    parser.add_argument("--dry-run", action="store_true", help="print what the run costs; run nothing")
    parser.add_argument(
        "--init",
        metavar="CHECKPOINT",
        help="weights to start from: a run's folder of checkpoints, one of them, a .safetensors or .pth file (also at "
        "s3:// or gs://) of DARL or of a stock timm ViT, or timm:NAME; what does not fit is listed",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="CHECKPOINT",
        help="the tokenizer whose tokens --tokens uses: a checkpoint of darl tokenizer, a run's folder of them, or a "
        ".safetensors file; or the text KIND:field=value of a tokenizer of your own",
    )
    parser.add_argument(
        "--tokens",
        choices=["input", "target", "both"],
        help="read tokens in the place of patches, predict them in the place of --objective's target, or both",
    )
    parser.add_argument(
        "--init-resample",
        action="store_true",
        help="resample those weights to another patch size or, with position learned, another grid; else refused",
    )


def run(flags: argparse.Namespace) -> None:
    """Pretrain one model, and write its rows; with `--dry-run` print what that costs."""
    require((flags.tokenizer is None) == (flags.tokens is None), "tokens", "come with --tokenizer", flags.tokens)
    predicts, remedy = flags.tokens in ("target", "both"), f"be left out with --tokens {flags.tokens}"
    require(not predicts or flags.objective is None, "objective", remedy, flags.objective)
    experiment, results = Options(flags).experiment(), results_root(flags.results)
    require_name(flags.name or "pretrain", "name")
    require(flags.init is not None or not flags.init_resample, "init_resample", "come with --init", True)
    require(not (flags.no_ray and flags.workers > 1), "workers", "be 1 with --no-ray", flags.workers)
    microbatch_size(experiment, flags.workers)
    workers_of(flags)
    check(flags.log, results)
    if flags.no_ray:
        gpus = flags.gpus_per_worker
        require(not is_remote(results), "results", "be a local folder with --no-ray", flags.results)
        require(not gpus or _has_gpu(), "gpus_per_worker", "be 0: no GPU is here", gpus)
    from darl.cli.pretraining import pretrain  # it imports tables, timm and scikit-learn: seconds

    pretrain(experiment, flags)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
