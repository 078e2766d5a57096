"""`darl embed`: the features of every image of a data set, as one Parquet file."""

# pyarrow has no types: reports about the unknown types of what it returns are switched off, no others.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darl.cli.data_flags import add_data_flags
from darl.cli.parser import CHECKPOINT_HELP, device_of, whole
from darl.variants import require

if TYPE_CHECKING:
    import pyarrow as pa

    from darl.training.checkpoint import Pretrained


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl embed`."""
    parser.epilog = (
        "The columns: path, split (train, validation or test), label (a class name), features (a list\n"
        "of fixed size, float32). A quarter of a million images of 768 numbers are 0.8 GB."
    )
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--data", help="images to embed (default: the data that it was trained on)")
    add_data_flags(parser.add_argument)
    parser.add_argument("--output", default="embeddings.parquet", help="the Parquet file")
    parser.add_argument("--block", type=whole, help="block after which the tokens are read (default: the last)")
    pooled = "pooling of the patches; tokens: all side by side (default: the model's own)"
    parser.add_argument("--readout", choices=["mean", "last", "tokens"], help=pooled)
    parser.add_argument("--mask", choices=["kept", "removed"], default="kept", help="the causal mask")
    parser.add_argument("--batch-size", type=whole, default=256, help="images at a time")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")


def run(flags: argparse.Namespace) -> None:
    """Write the file; it appears when it is whole."""
    output = Path(flags.output)
    writable = output.suffix == ".parquet" and output.parent.is_dir() and os.access(output.parent, os.W_OK)
    require(writable, "--output", "be a .parquet file in a folder that can be written", flags.output)
    device = device_of(flags.device)
    import pyarrow.parquet as pq

    from darl.training import checkpoint

    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    pretrained.model.to(device).eval()
    unfinished = output.with_name(f".{output.name}.unfinished")
    images = 0
    try:
        writer = None
        for table in _tables(pretrained, flags):
            writer = writer or pq.ParquetWriter(unfinished, table.schema)
            writer.write_table(table)
            images += len(table)
        require(writer is not None, "--data", "hold an image that can be read", flags.data)
        assert writer is not None
        writer.close()
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"{output}: {images:,} images")


def _tables(pretrained: "Pretrained", flags: argparse.Namespace) -> "Iterator[pa.Table]":
    """A table for each batch."""
    import pyarrow as pa
    import torch

    from darl.cli.data_flags import located, open_and_say
    from darl.data import normalize
    from darl.data.stored import stored_images
    from darl.evaluation.subject import Readout, read_features

    model, experiment = pretrained.model, pretrained.experiment
    device, depth = next(model.parameters()).device, len(model.encoder.blocks)
    require(flags.block is None or flags.block <= depth, "--block", f"be at most {depth}", flags.block)
    readout = Readout(flags.block or depth, flags.readout or model.encoder.readout)
    size = {"image_size": experiment.image_size, "channels": experiment.channels, "batch_size": flags.batch_size}
    name = located(flags, flags.data, experiment.data)
    opened = open_and_say(name, image_size=experiment.image_size, channels=experiment.channels)
    for batch in stored_images(opened, **size):
        for name, why in batch.skipped.items():
            print(f"skipped {name}: {why}", file=sys.stderr)
        if not batch.names:
            continue
        with torch.no_grad():
            images = normalize(torch.from_numpy(batch.pixels).to(device), pretrained.mean, pretrained.std)
            ((_, features),) = read_features(model, images, [readout], masked=flags.mask == "kept")
        labels = batch.labels
        named = [None] * len(batch.names) if labels is None else [(batch.classes or ())[label] for label in labels]
        flat = pa.array(features.cpu().numpy().ravel(), pa.float32())
        columns = {
            "path": pa.array(batch.names, pa.string()),
            "split": pa.array([batch.split] * len(batch.names), pa.string()),
            "label": pa.array(named, pa.string()),
            "features": pa.FixedSizeListArray.from_arrays(flat, features.shape[1]),
        }
        yield pa.table(columns)
