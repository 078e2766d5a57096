"""The optimiser's part of a checkpoint: in one file, or in shards by torch's distributed checkpointing (DCP).

Weights are in one file either way. They are what readers of a checkpoint want (`darl evaluate`, `export`, `--init` …),
and to gather them costs what one forward pass gathers: 2.5 GB for `huge`, the largest size. The optimiser's moments are
twice as large, and only a resumed run wants them. So each worker writes its own part of these, and reads what it needs
of all parts, whatever the number of workers. DCP's safetensors format is used: its other one has a pickle, which could
run code.

Either kind of checkpoint can be resumed with sharding or without.
"""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from darl.training.sharding import part_of

__all__ = ["own_parts", "read_shards", "write_shards"]

_State = dict[str, Any]


def write_shards(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[_State, dict[str, int]]:
    """Write this worker's part of the optimiser's tensors; all workers must call it, each with a folder of its own.

    Returns the optimiser's state without these tensors, which a list of their names stands for in each parameter's
    state (`sharded`), and the sizes of all workers' files in bytes, by their path in the checkpoint.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import HuggingFaceStorageWriter
    from torch.distributed.tensor import DTensor

    parts = folder / f"optimizer-{dist.get_world_size()}"  # so no part of another number of workers is ever among them
    state, tensors = optimizer.state_dict(), dict[str, Tensor]()
    for number, (name, _) in enumerate(_parameters(model, optimizer)):
        own = state["state"].get(number, {})
        moments = [key for key, value in own.items() if isinstance(value, DTensor)]
        tensors |= {f"{name}.{key}": own[key] for key in moments}
        kept = {key: value for key, value in own.items() if key not in moments}
        state["state"][number] = {**kept, "sharded": moments}
    dcp.save(tensors, storage_writer=HuggingFaceStorageWriter(str(parts), save_distributed=True))  # pyright: ignore
    sizes: list[dict[str, int]] = [{} for _ in range(dist.get_world_size())]
    own_sizes = {f"{parts.name}/{file.name}": file.stat().st_size for file in parts.iterdir()}
    dist.all_gather_object(sizes, own_sizes)
    return state, {name: size for each in sizes for name, size in each.items()}


def read_shards(
    folder: Path, state: _State, shards: Iterable[str], model: nn.Module, optimizer: torch.optim.Optimizer
) -> _State:
    """The optimiser's state, for `load_state_dict`, from what `write_shards` gave: its state, and paths in `folder`.

    The model may be sharded over any number of workers, or not at all.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    (parts,) = {str((folder / shard).parent) for shard in shards}
    tensors = dict[str, Tensor]()
    for number, (name, parameter) in enumerate(_parameters(model, optimizer)):
        own = state["state"][number]
        read = {key: torch.empty_like(parameter.detach()) for key in own.pop("sharded")}
        tensors |= {f"{name}.{key}": value for key, value in read.items()}
        own |= read
    with warnings.catch_warnings():  # that nothing is coordinated: each worker reads for itself
        warnings.filterwarnings("ignore", ".*assuming the intent is to load in a single process", UserWarning)
        dcp.load(tensors, storage_reader=HuggingFaceStorageReader(parts), no_dist=True)  # pyright: ignore
    return state


def own_parts(state: _State, model: nn.Module, optimizer: torch.optim.Optimizer) -> _State:
    """The same for a sharded model from the whole state of an unsharded run: of each tensor this worker's part."""
    for number, (_, parameter) in enumerate(_parameters(model, optimizer)):
        for key, value in state["state"].get(number, {}).items():
            if value.shape == parameter.shape and value.ndim:
                state["state"][number][key] = part_of(value, parameter)
    return state


def _parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Names and parameters, in the order in which the optimiser's state counts them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        yield from ((names[id(parameter)], parameter) for parameter in group["params"])
