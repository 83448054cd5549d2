"""Where a model runs and in which type, from the parameters ``device``, ``dtype`` and ``threads``."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dream_vla_ros.policy.policy import PolicyError
from dream_vla_ros.policy.settings import DType, PlacementSettings


def place(settings: PlacementSettings) -> tuple[torch.device, torch.dtype]:
    """Return device and type of a model's weights; torch takes the number of threads from then on.

    :raises PolicyError: If the device cannot be used here; the message names those that can.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = _device(settings.device)
    return device, _dtype(settings.dtype, device)


def _dtype(name: DType, device: torch.device) -> torch.dtype:
    """Return the type of weights that a parameter names, on a device."""
    if name is DType.AUTO:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {
        DType.BFLOAT16: torch.bfloat16,
        DType.FLOAT16: torch.float16,
        DType.FLOAT32: torch.float32,
    }[name]


def _device(name: str) -> torch.device:
    """Return the device that the parameter ``device`` names.

    :raises PolicyError: If it cannot be used here; the message names those that can.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise PolicyError(
            f"parameter 'device' is '{name}', which cannot be used here: {reason}; "
            f"usable are {', '.join(_usable_devices())}"
        ) from error
    return device


def _usable_devices() -> Iterator[str]:
    yield "cpu"
    yield from (f"cuda:{index}" for index in range(torch.cuda.device_count()))
