"""`darl generate`: draw images with a checkpoint."""

import argparse
import os
from pathlib import Path

from darl.cli.parser import CHECKPOINT_HELP, whole
from darl.variants import require


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl generate`."""
    parser.epilog = (
        "A model that was pretrained on nearly pure noise, as by the paper's schedule\n"
        "beta:a=0.03,b=1, has hardly learned to remove the last bit of noise: its images\n"
        "all look alike. For images that differ, pretrain with --noise beta:a=1,b=1."
    )
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--count", type=whole, default=16, help="number of images")
    parser.add_argument("--steps", type=whole, default=32, help="noise levels per patch")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise that images are drawn from")
    parser.add_argument("--output", default="generated.png", help="a PNG file, with the images in a square")


def run(flags: argparse.Namespace) -> None:
    """Draw images and write them as one PNG file."""
    output = Path(flags.output)
    writable = output.suffix.lower() == ".png" and output.parent.is_dir() and os.access(output.parent, os.W_OK)
    require(writable, "--output", "be a PNG file in a folder that can be written", flags.output)
    import torch
    from torchvision.utils import save_image

    from darl.training import checkpoint

    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    images = pretrained.model.generate(flags.count, steps=flags.steps, seed=flags.seed)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (pretrained.mean, pretrained.std))
    save_image((images * std + mean).clamp(0, 1), flags.output, nrow=max(1, round(flags.count**0.5)))
    print(flags.output)
