"""Linear layers that keep their weight in another form, for speed or for memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Pack = Callable[[nn.Linear], nn.Module]
"""Turns a linear layer into what is run in its place."""


class PackedLinear(nn.Module):
    """A linear layer that keeps its weight in another form; derived ones know the product.

    :param linear: What it stands for.
    """

    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        y = self.product(x.flatten(0, -2)).to(x.dtype)
        if self.bias is not None:
            y = y + self.bias
        return y.unflatten(0, x.shape[:-1])

    def product(self, flat: Tensor) -> Tensor:
        """Map (places, in) to (places, out), in any type, without the bias."""
        raise NotImplementedError


class WithoutGradients(PackedLinear):
    """A packed layer whose product torch knows no gradient of: it gets that of the weight it stands for."""

    def through(self, x: Tensor) -> Tensor:
        """Multiply; a gradient goes through it, as if nothing had been rounded but the weight."""
        return _Through.apply(x, self) if x.requires_grad else self.multiply(x)

    def multiply(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        raise NotImplementedError

    def plain_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the weight (out, in) that it stands for."""
        raise NotImplementedError


class _Through(torch.autograd.Function):
    """The product forwards, the plain weight's gradient with respect to the places backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: WithoutGradients) -> Tensor:
        """Run the layer."""
        ctx.layer = layer
        return layer.multiply(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Return the gradient with respect to the places."""
        (grad,) = grads
        return grad @ ctx.layer.plain_weight(grad.dtype), None


def pack_linears(blocks: nn.Module, pack: Pack) -> None:
    """Replace every linear layer below a module, in place."""
    for parent in list(blocks.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, pack(child))
