"""Layers kept in the host's memory, for cards that the model does not fit on: each visits to be run."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .backbone import DreamBackbone


def stream_layers(model: DreamBackbone, device: torch.device) -> None:
    """Keep the language model's layers in the host's memory and bring each to a device when it is run.

    Everything else is moved there for good. A pass then takes at least as long as the copy of all layers.

    :param device: Where the model computes.
    """
    for layer in model.model.layers:
        layer.to("cpu")
        _Visitor(layer, device)
    for name, child in model.named_children():
        if name != "model":
            child.to(device)
    model.model.embed_tokens.to(device)
    model.model.norm.to(device)


class _Visitor:
    """Brings a layer's tensors to a device for the length of each call."""

    def __init__(self, layer: nn.Module, device: torch.device) -> None:
        self._tensors = [*layer.parameters(), *layer.buffers()]
        pin = device.type == "cuda"
        self._home = [t.data.pin_memory() if pin else t.data for t in self._tensors]
        self._device = device
        layer.register_forward_pre_hook(self._come)
        layer.register_forward_hook(self._go, always_call=True)

    def _come(self, layer: nn.Module, arguments: Any) -> None:
        for tensor, home in zip(self._tensors, self._home, strict=True):
            tensor.data = home.to(self._device, non_blocking=True)

    def _go(self, layer: nn.Module, arguments: Any, result: Any) -> None:
        for tensor, home in zip(self._tensors, self._home, strict=True):
            tensor.data = home
