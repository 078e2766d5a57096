"""Fully sharded data parallelism: torch's FSDP2 (`fully_shard`), for models whose state one GPU cannot hold.

Each worker keeps 1/n of every weight, gradient, moment of AdamW and moving average: in float32 16 bytes a parameter,
and 4 for the average, are divided by the n workers. A block's weights are gathered right before they are needed, and
freed afterwards; the gradients of each micro-batch are averaged into the parts at once. So gradients are nowhere whole,
at the price of one exchange per micro-batch, where DDP has one per step.

The initial weights are those of an unsharded run: every worker builds the whole model on the CPU, from the same seeds,
and keeps its part. The device never holds more than the parts and one block. As in torchtitan
(`torchtitan/distributed/fsdp.py`), each Transformer block is gathered as one, and all the rest as another.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["blocks_of", "copy_whole", "is_sharded", "load_whole", "part_of", "shard", "whole", "whole_weights"]


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The Transformer blocks of a model: the trunk's, and those of a masked autoencoder's decoder."""
    from darl.model.transformer import Block  # it imports timm

    return [module for module in model.modules() if isinstance(module, Block)]


def shard(model: nn.Module, device: torch.device, *, bfloat16: bool) -> nn.Module:
    """Shard a model in place over all workers of torch.distributed; its parameters become `DTensor`s. Returns it.

    Args:
        model: on the CPU; it is moved to `device` block by block.
        device: where it is trained.
        bfloat16: whether it runs under autocast to bfloat16. Then the blocks' weights are gathered in bfloat16, which
            halves what is sent, and what autocast would keep as copies until the backward pass; gradients are averaged
            in float32. Unlike under autocast alone, the gains and biases of the blocks' norms are rounded, too.

    """
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = DeviceMesh.from_group(dist.group.WORLD, device.type)  # pyright: ignore[reportArgumentType]
    dtypes = (torch.bfloat16, torch.float32) if bfloat16 else (None, None)
    policy = MixedPrecisionPolicy(param_dtype=dtypes[0], reduce_dtype=dtypes[1], cast_forward_inputs=False)
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    return model


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was applied to a model."""
    if not dist.is_initialized():
        return False
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def whole(value: Tensor) -> Tensor:
    """A tensor with all its parts, on each worker; all workers must call it. Other tensors as they are."""
    gather: Callable[[], Tensor] | None = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


def whole_weights(model: nn.Module, *, kept: bool) -> dict[str, Tensor]:
    """A model's weights by name; of a sharded one gathered one after another, on the CPU.

    All workers must call it. kept: false on workers that do not need them, which get none.
    """
    if not is_sharded(model):
        return model.state_dict()
    weights = dict[str, Tensor]()
    for name, value in model.state_dict().items():
        gathered = whole(value.detach())
        if kept:
            weights[name] = gathered.cpu()
    return weights


@torch.no_grad()
def copy_whole(sharded: nn.Module, model: nn.Module) -> nn.Module:
    """Copy the weights of a sharded model into an unsharded one of the same kind, and return that.

    All workers must call it.
    """
    own = model.state_dict()
    for name, value in sharded.state_dict().items():
        own[name].copy_(whole(value))
    return model


@torch.no_grad()
def load_whole(model: nn.Module, file: Path) -> None:
    """Load a safetensors file of whole weights, on the model's device: of a sharded one this worker's parts.

    Raises RuntimeError where names or shapes differ.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    if not is_sharded(model):
        model.load_state_dict(load_file(file, device=str(next(model.parameters()).device)))
        return
    own = model.state_dict()
    with safe_open(file, framework="pt") as opened:  # one tensor after another
        if own.keys() != set(opened.keys()):
            raise RuntimeError(f"{file} holds other weights: {sorted(own.keys() ^ set(opened.keys()))}")
        for name, value in own.items():
            value.copy_(part_of(opened.get_tensor(name), value))


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """This worker's part of a whole tensor that it has, sharded as `like`; whole if that is. Nothing is sent."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(like.device)
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
