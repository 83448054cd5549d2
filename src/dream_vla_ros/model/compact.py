"""Smaller weights for cards that two models do not fit on: int8, int4, or layers kept in the host's memory.

Only the language model's layers are changed, which are four fifths of the 7B. Activations stay as they are:
each weight is unpacked when it is used, which saves memory, not time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import DreamBackbone
from .errors import ModelInputError

BITS = (8, 4)
# Weights that share one scale in int4; smaller groups are more exact and take more memory.
_GROUP = 64


class CompactLinear(nn.Module):
    """A linear layer whose weight is kept in 8 or 4 bits, symmetric about zero.

    In 8 bits every row has a scale; in 4 bits every 64 weights of a row do.

    :param linear: What it stands for.
    :param bits: 8 or 4.
    """

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__()
        if bits not in BITS:
            raise ModelInputError(f"weights can be kept in {' or '.join(map(str, BITS))} bits, not {bits!r}")
        self.bits = bits
        self.shape = tuple(linear.weight.shape)
        weight = linear.weight.detach()
        groups = self._grouped(weight.float())
        most = 2 ** (bits - 1) - 1
        scale = groups.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float16).tiny) / most
        levels = torch.round(groups / scale).clamp(-most, most).to(torch.int8)
        if bits == 4:
            levels = levels + 8
            levels = (levels[..., 0::2] | (levels[..., 1::2] << 4)).to(torch.uint8)
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale.to(weight.dtype))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    @property
    def weight(self) -> Tensor:
        """The weight unpacked, (out, in)."""
        levels: Any = self.levels
        scale: Any = self.scale
        if self.bits == 4:
            levels = torch.stack([levels & 15, levels >> 4], dim=-1).flatten(-2).to(torch.int8) - 8
        rows = (levels.to(scale.dtype) * scale).flatten(1)
        return rows[:, : self.shape[1]]

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        bias: Any = self.bias
        return F.linear(x, self.weight, bias)

    def _grouped(self, weight: Tensor) -> Tensor:
        if self.bits == 8:
            return weight[:, None]
        return F.pad(weight, (0, -weight.shape[1] % _GROUP)).unflatten(1, (-1, _GROUP))


def compact_layers(model: DreamBackbone, bits: int) -> None:
    """Keep the weights of the language model's layers in fewer bits, in place.

    :param bits: 8 or 4.
    :raises ModelInputError: if it is neither.
    """
    for layer in model.model.layers:
        for name, child in list(layer.named_modules()):
            if isinstance(child, nn.Linear):
                parent = layer.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], CompactLinear(child, bits))


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
