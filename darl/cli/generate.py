"""`darl generate`: draw images with a checkpoint, whole or continued from the first patches of true ones."""

import argparse
import os
import sys
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from darl.cli.data_flags import add_data_flags
from darl.cli.parser import CHECKPOINT_HELP, device_of, nonnegative, whole
from darl.variants import require

if TYPE_CHECKING:
    from torch import Tensor

    from darl.training.checkpoint import Pretrained


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl generate`."""
    parser.epilog = (
        "For images that differ, pretrain with --noise beta:a=1,b=1 and --objective\n"
        "diffusion:gamma_conditioning=true. With nearly pure noise, as in the paper's schedule\n"
        "beta:a=0.03,b=1, a model has hardly learned to remove the last bit of noise; without\n"
        "gamma it must tell the noise by looking, which patches of few pixels do not allow: it\n"
        "draws in one step. Either way its images all look alike. A model that was trained by\n"
        "MSE has one image to draw: the mean.\n"
        "--noise mixture in pretraining keeps the paper's schedule for most patches and takes a\n"
        "share of them from a uniform one."
    )
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--count", type=whole, default=16, help="number of images")
    usual = "denoising steps per patch (default: 32, or 1 without gamma where patches are small)"
    parser.add_argument("--steps", type=whole, help=usual)
    draws = "ancestral (noise at every step) or ddim (only at the first; ddim:eta=0.5: half as much as ancestral)"
    parser.add_argument("--sampler", default="ancestral", help=draws)
    parser.add_argument("--temperature", type=nonnegative, default=1.0, help="all noise is drawn times this")
    given = (
        "continue true images: the part of their patches that is given, in the model's order, above 0 and below 1. "
        "Shown side by side: what is given, the whole as drawn, the true image"
    )
    of = "draw images of these classes in turn, by number or name, of a model pretrained with --condition labels"
    parser.add_argument("--class", dest="classes", nargs="+", metavar="CLASS", help=of)
    strength = (
        "how many times images are moved from no class to theirs; above 1 the class shows more, and they differ less"
    )
    parser.add_argument("--guidance", type=nonnegative, default=1.0, help=strength)
    parser.add_argument("--prefix", type=float, metavar="PART", help=given)
    parser.add_argument("--data", help="validation images to continue (default: of the data that it was trained on)")
    add_data_flags(parser.add_argument)
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise, and of which images are continued")
    parser.add_argument("--output", default="generated.png", help="a PNG file, with the images in a square")
    parser.add_argument(
        "--enlarge", type=whole, default=1, help="each pixel becomes a square of this many pixels a side"
    )
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")


def run(flags: argparse.Namespace) -> None:
    """Draw images and write them as one PNG file."""
    output = Path(flags.output)
    writable = output.suffix.lower() == ".png" and output.parent.is_dir() and os.access(output.parent, os.W_OK)
    require(writable, "--output", "be a PNG file in a folder that can be written", flags.output)
    part = flags.prefix
    require(part is None or 0 < part < 1, "--prefix", "be above 0 and below 1", part)
    require(part is not None or flags.data is None, "--data", "come with --prefix: it is continued", flags.data)
    require(part is None or flags.classes is None, "--class", "be left out with --prefix", flags.classes)
    require(flags.classes or flags.guidance == 1, "--guidance", "come with --class", flags.guidance)
    device = device_of(flags.device)
    import torch
    import torch.nn.functional as F
    from torchvision.utils import save_image

    from darl.training import checkpoint

    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    pretrained.model.to(device).eval()
    draw = {"steps": flags.steps, "sampler": flags.sampler, "temperature": flags.temperature, "seed": flags.seed}
    if flags.steps is None and _is_blind(pretrained):
        print("drawn in one step, since the decoder cannot know gamma: images look alike (see --help)", file=sys.stderr)
    if part is None:
        columns = max(1, round(flags.count**0.5))
        if flags.classes is not None:
            numbers = _class_numbers(pretrained, flags.classes)
            columns = len(numbers) if len(numbers) > 1 else columns
            draw |= {"labels": list(islice(cycle(numbers), flags.count)), "guidance": flags.guidance}
        images = pretrained.model.generate(flags.count, **draw).cpu()
    else:
        images = _continued(pretrained, _true_images(pretrained, flags), part, draw)
        columns = 3 * max(1, round((len(images) / 9) ** 0.5))
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (pretrained.mean, pretrained.std))
    pixels = F.interpolate((images * std + mean).clamp(0, 1), scale_factor=flags.enlarge, mode="nearest")
    save_image(pixels, flags.output, nrow=columns)
    print(flags.output)


def _class_numbers(pretrained: "Pretrained", classes: list[str]) -> list[int]:
    """The classes' numbers; names are looked up in the data that the model was trained on. Raises UserError."""
    experiment = pretrained.experiment
    told = experiment.condition is not None and experiment.content is not None
    require(told, "--class", "be left out for a model that was pretrained without --condition labels", classes)
    count = (experiment.content and experiment.content.classes) or 0
    if all(name.isdecimal() and int(name) < count for name in classes):
        return [int(name) for name in classes]
    from darl.data import locate
    from darl.data.dataset import open_data

    names = list(open_data(locate(experiment.data)).classes or ())
    for name in classes:
        remedy = f"be a number below {count}, or one of {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
        require(name in names, "--class", remedy, name)
    return [names.index(name) for name in classes]


def _is_blind(pretrained: "Pretrained") -> bool:
    """Whether the model denoises and cannot know gamma."""
    from darl.model.objectives.diffusion import Diffusion

    objective = pretrained.experiment.objective
    return isinstance(objective, Diffusion) and not objective.knows_gamma(pretrained.model.config)


def _continued(pretrained: "Pretrained", true: "Tensor", part: float, draw: dict[str, object]) -> "Tensor":
    """For each true image (n, C, H, W) three (3n, C, H, W): its first patches on grey, the whole as drawn, itself."""
    import torch

    from darl.model.orders import inverse
    from darl.model.patches import unpatchify

    model = pretrained.model
    encoder = model.encoder
    patches, grid = encoder.patches(true.to(encoder.start_token.device))
    given = min(max(1, round(part * patches.shape[1])), patches.shape[1] - 1)
    drawn = model.generate(len(true), prefix=patches[:, :given], **draw).cpu()  # pyright: ignore[reportArgumentType]
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (pretrained.mean, pretrained.std))
    is_given = torch.zeros_like(patches)
    is_given[:, :given] = 1
    is_given = unpatchify(is_given[:, inverse(model.order)], grid, model.patch_size).cpu()
    shown = torch.where(is_given > 0, true, (0.5 - mean) / std)
    return torch.stack([shown, drawn, true], dim=1).flatten(0, 1)


def _true_images(pretrained: "Pretrained", flags: argparse.Namespace) -> "Tensor":
    """Normalised validation images (n, C, H, W), drawn by the seed: as many as there are, up to `--count`."""
    import numpy as np
    import torch

    from darl.cli.data_flags import located, open_and_say
    from darl.data import normalize
    from darl.data.decode import decode_many, decode_resized

    experiment = pretrained.experiment
    size, channels = experiment.image_size, experiment.channels
    opened = open_and_say(located(flags, flags.data, experiment.data), image_size=size, channels=channels)
    source = opened.sources["validation"]
    chosen = np.random.default_rng(flags.seed).permutation(len(source))[: flags.count]
    pixels = np.empty((len(chosen), channels, size, size), np.uint8)
    failed = decode_many(lambda row: decode_resized(source.read(int(chosen[row])), size, channels),
                         range(len(chosen)), pixels, torch.get_num_threads())  # fmt: skip
    pixels = np.delete(pixels, list(failed), axis=0)
    require(len(pixels) > 0, "--data", "hold validation images that can be read", flags.data or experiment.data)
    return normalize(torch.from_numpy(pixels), pretrained.mean, pretrained.std)
