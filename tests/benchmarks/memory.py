"""Memory of a worker: with a copy of the model each or sharded, with and without gradient checkpointing.

    python -m tests.benchmarks.memory

Each way is two training steps of the same model over two CPU workers (gloo), in processes of its own. The peak is that
of the steps, as the tables' `peak_memory` (`darl.training.memory`), less what the process held before it had a model.
A GPU's own figures are in the tables of any run there.

Measured once on two busy cores, with glibc keeping freed memory (without `GIVEN_BACK`): 0.97 GiB above rest by DDP,
0.92 with gradient checkpointing, 0.93 sharded. The whole model that was freed hides what sharding saves. With
`GIVEN_BACK` only DDP was run to the end, 0.80.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from darl.data import load
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.training.events import Evaluated
from darl.training.memory import PeakMemory, gibibytes
from darl.training.parallel import Execution
from darl.training.pretrain import fit

WORKERS, STEPS, IMAGES = 2, 2, 8
"""Images of a worker in a step."""

SIZE = EncoderConfig(width=512, depth=12, heads=8, patch_size=4)
"""41 million parameters, of which each token of an image of 32 pixels reads 64 others."""

GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
"""For the workers' glibc: freed memory goes back to the system at once. By default it keeps much of it, as of the whole
model that a sharded one is cut from, and the resident set then says little of what is held."""

WAYS = {
    "a copy each (DDP)": Execution(),
    "a copy each, gradient checkpointing": Execution(gradient_checkpointing=True),
    "sharded (FSDP2)": Execution(sharded=True),
    "sharded, gradient checkpointing": Execution(sharded=True, gradient_checkpointing=True),
}


def main() -> None:
    """Print a row for each way."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ |= GIVEN_BACK
    print(f"{'':38}{'peak':>10}{'above rest':>12}{'of DDP':>8}{'s a step':>10}")
    first = None
    for name, execution in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(_work, (folder, execution), nprocs=WORKERS)
            rest, peak, seconds = torch.load(Path(folder) / "gave.pt")
        first = first or peak - rest
        shown = f"{gibibytes(peak):>10}{gibibytes(peak - rest):>12}{(peak - rest) / first:>8.0%}{seconds:>10.1f}"
        print(f"{name:38}{shown}", flush=True)


def _nothing(*_: object) -> dict[str, float]:
    return {}


def _work(rank: int, folder: str, execution: Execution) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    batch, data = WORKERS * IMAGES, load("digits", image_size=32, channels=1)
    pixels, labels = data.train.pixels[: batch * STEPS], data.train.labels[: batch * STEPS]
    data = replace(data, train=replace(data.train, pixels=pixels, labels=labels))
    trained = Experiment(model=SIZE, image_size=32, epochs=1, batch_size=batch)
    memory, began = PeakMemory(torch.device("cpu")), time.monotonic()
    memory.start()
    memory.stop()
    events = list(fit(trained, data, device=torch.device("cpu"), full=_nothing, execution=execution))
    last = events[-1]
    assert isinstance(last, Evaluated)
    if rank == 0:
        torch.save((memory.most, last.peak_memory, (time.monotonic() - began) / STEPS), Path(folder) / "gave.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
