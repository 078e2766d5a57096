"""`darl finetune`: train a pretrained encoder on with a classifier, over one worker or many."""

import argparse
from typing import Any

from darl.cli.data_flags import add_data_flags, located
from darl.cli.parser import CHECKPOINT_HELP, count, whole
from darl.cli.run_flags import add_run_flags, results_root, workers_of
from darl.storage.address import is_remote, require_name
from darl.training.trackers.base import check
from darl.variants import require

OPTIONS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "layer_decay",
    "drop_path",
    "mask",
    "readout",
    "augmentation",
    "ema",
)
"""The flags that are options of the protocol `finetune`."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl finetune`."""
    parser.epilog = (
        "The row in RESULTS/finetune/trials has the accuracy on the validation images (finetune_top1), the trial id\n"
        "of the pretraining (finetuning_source) and the hash of its weights (init). Options that are not given are\n"
        "MAE's for the model's size; batches are smaller where images are few, and images of up to 16 pixels are not\n"
        "augmented. timm.create_model(NAME, num_classes=N, checkpoint_path=…/model.safetensors) takes the weights,\n"
        "but for --readout attentive; darl.load takes all of them."
    )
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    add = parser.add_argument_group("what is trained").add_argument
    add("--data", help="labelled images (default: the data that it was pretrained on)")
    add_data_flags(add)
    add("--scratch", action="store_true", help="start from random weights: what pretraining is to be better than")
    add("--epochs", help="passes over the training images")
    add("--batch-size", help="images per step, over all workers")
    add("--accumulate", type=whole, default=1, help="micro-batches per step (gradient accumulation)")
    add("--learning-rate", help="peak learning rate of the classifier")
    add("--layer-decay", help="each layer's learning rate as a multiple of that of the layer above it")
    add("--drop-path", help="stochastic depth of the last block")
    add("--mask", choices=["kept", "removed"], help="the causal mask (default: removed)")
    add("--readout", choices=["mean", "last", "attentive"], help="what the classifier reads (default: mean)")
    add("--augmentation", choices=["none", "light", "full"], help="none, Mixup 0.2, or all of MAE's")
    add("--ema", help="decay of the weights' moving average (default: 0, none)")
    add("--seed", type=count, default=0, help="seed of the classifier, the order and the augmentation")
    add("--precision", default="auto", choices=["auto", "float32", "bfloat16"], help="auto is bfloat16 on GPUs")
    add_run_flags(parser)
    parser.add_argument("--evaluations", type=whole, default=4, help="evaluations during the run, evenly spaced")
    parser.add_argument("--no-ray", action="store_true", help="the plain loop in this process, without Ray")


def run(flags: argparse.Namespace) -> None:
    """Fine-tune, and write the rows."""
    results = results_root(flags.results)
    require_name(flags.name or "finetune", "name")
    require(not (flags.no_ray and flags.workers > 1), "workers", "be 1 with --no-ray", flags.workers)
    workers_of(flags)
    check(flags.log, results)
    if flags.no_ray:
        require(not is_remote(results), "results", "be a local folder with --no-ray", flags.results)
        require_gpu(flags.gpus_per_worker)
    _finetune(flags)


def _finetune(flags: argparse.Namespace) -> None:
    from dataclasses import replace

    from darl.cli.load import load_data
    from darl.cli.pretraining import Evaluations, train_and_record
    from darl.evaluation.finetune import FinetuneProtocol
    from darl.evaluation.finetuned import Accuracy, NoEvaluation
    from darl.training import checkpoint
    from darl.training.initialization import weights_fingerprint
    from darl.training.tokenizer import placed_weights

    given = {name: getattr(flags, name) for name in OPTIONS if getattr(flags, name) is not None}
    protocol = FinetuneProtocol.from_record({"kind": FinetuneProtocol.kind, "seed": flags.seed, **given})
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    source = pretrained.experiment.changed({"data": located(flags, flags.data, pretrained.experiment.data)})
    dataset = load_data(source, flags)
    tokenizer = pretrained.model.encoder.tokenizer  # it is kept, since a patch embedding of random tokens is no model
    if not flags.scratch or tokenizer is not None:  # random weights have seen no data, whose mean and deviation would
        dataset = replace(dataset, mean=pretrained.mean, std=pretrained.std)  # be no part of the record
    weights = None if flags.scratch else pretrained.model.state_dict()
    settings: dict[str, Any] = {"data": source.data, "accumulate": flags.accumulate, "precision": flags.precision}
    if weights is not None:
        settings |= {"source": pretrained.experiment.trial_id, "init": weights_fingerprint(weights)}
    if tokenizer is not None:
        settings |= {"tokenizer_weights": weights_fingerprint(tokenizer.state_dict())}
    experiment = protocol.experiment(pretrained.model.config, len(dataset.train), **settings)
    if weights is None and tokenizer is not None:
        weights = placed_weights(tokenizer.state_dict(), experiment)
    evaluations = Evaluations(full=Accuracy(), first=NoEvaluation(), on_the_way=Accuracy(), count=flags.evaluations)
    train_and_record(experiment, dataset, evaluations, flags, name="finetune", initial=weights)


def require_gpu(gpus: float) -> None:
    """Raise UserError where GPUs are asked for and this machine has none."""
    if gpus:
        import torch

        require(torch.cuda.is_available(), "gpus_per_worker", "be 0: no GPU is here", gpus)
