"""One training over several devices of which each holds a part of the weights (FSDP2, through accelerate).

``accelerate launch --use_fsdp --fsdp_version 2`` asks for it. Layers of both towers are gathered one by one
while they are needed; everything else is gathered for the whole forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor

from dream_vla_ros.training.errors import TrainingError

_LAYERS = ("DecoderLayer", "VisionBlock")


def prepared(
    accelerator: Accelerator, learner: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Spread a learner as the launch says: not at all, a copy on each device (DDP), or in parts (FSDP2).

    :param learner: Changed in place where it is spread in parts.
    :returns: What is called in training, and the optimizer of its parameters.
    :raises TrainingError: If the first version of FSDP is asked for.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        return accelerator.prepare_model(learner), optimizer
    if plugin.fsdp_version != 2:
        raise TrainingError("FSDP's first version cannot hold LoRA: launch with --fsdp_version 2")
    present = {type(module).__name__ for module in learner.modules()}
    plugin.transformer_cls_names_to_wrap = [name for name in _LAYERS if name in present]
    plugin.set_auto_wrap_policy(
        "transformer_based_wrap" if plugin.transformer_cls_names_to_wrap else "no_wrap"
    )
    plugin.cpu_ram_efficient_loading = False
    # Autocast chooses the precision, as everywhere else; here only that gradients are summed in float32.
    plugin.mixed_precision_policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    spread, wrapped = accelerator.prepare(learner, optimizer)
    return spread, wrapped.optimizer


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its parts; every process has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor; it shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: Tensor, example: Tensor) -> Tensor:
    """Return of a whole tensor what this process holds of another of the same shape."""
    if not isinstance(example, DTensor):
        return tensor
    spread = distribute_tensor(tensor.to(example.device), example.device_mesh, example.placements)
    return part(spread)


def whole_like(tensor: Tensor, example: Tensor) -> Tensor:
    """Return the whole of what every process holds a part of, spread as another tensor is."""
    if not isinstance(example, DTensor):
        return tensor
    return DTensor.from_local(
        tensor, example.device_mesh, example.placements, shape=example.shape, stride=example.stride()
    ).full_tensor()


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Put whole parameters in place for a while, to predict with them or to write them down.

    Every process has to do it. What is changed meanwhile is lost where parameters are spread in parts.
    """
    kept = [
        (owner, name, parameter)
        for owner in module.modules()
        for name, parameter in owner._parameters.items()
        if parameter is not None and isinstance(parameter, DTensor)
    ]
    for owner, name, parameter in kept:
        owner._parameters[name] = nn.Parameter(whole(parameter), parameter.requires_grad)
    try:
        yield
    finally:
        for owner, name, parameter in kept:
            owner._parameters[name] = parameter


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer with whole tensors; every process has to ask."""
    state = optimizer.state_dict()
    state["state"] = {
        at: {key: _whole(value) for key, value in own.items()} for at, own in state["state"].items()
    }
    return state


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over a state with whole tensors, however many processes wrote it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    own = {
        at: {key: _spread(value, parameters[at]) for key, value in values.items()}
        for at, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": own})


def _whole(value: Any) -> Any:
    return whole(value) if isinstance(value, Tensor) else value


def _spread(value: Any, parameter: Tensor) -> Any:
    if isinstance(value, Tensor) and isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
    return value
