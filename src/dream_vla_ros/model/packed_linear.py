"""Linear layers that keep their weight in another form, for speed or for memory."""

from __future__ import annotations

from collections.abc import Callable

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


def pack_linears(blocks: nn.Module, pack: Pack) -> None:
    """Replace every linear layer below a module, in place."""
    for parent in list(blocks.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, pack(child))
