"""Linear layers whose weight lies in memory as the processor multiplies it, block by block.

The product of oneDNN over such a weight computes what `torch.nn.functional.linear` does, up to rounding, and
is a fifth faster where that one asks another library (float32 on x86), and 5 to 20 % in bfloat16, where that
one makes the layout at each product.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

from .errors import ModelInputError
from .packed_linear import WithoutGradients

# Rows that the layout is made for: a prompt with two images and a chunk. Others are multiplied as well.
USUAL_ROWS = 224
_X86 = ("x86_64", "AMD64", "i386")


def can_block(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether weights there can be laid out in blocks, and products become faster by it."""
    there = (
        device.type == "cpu"
        and platform.machine() in _X86
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
    if dtype is torch.bfloat16:
        return there and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return there and dtype is torch.float32


class BlockedLinear(WithoutGradients):
    """A linear layer over a weight in blocks, which is kept in no other form.

    :param linear: What it stands for, float32 or bfloat16 on a processor.
    :raises ModelInputError: If its weight is not.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        weight = linear.weight.detach()
        if not can_block(weight.device, weight.dtype):
            raise ModelInputError(f"a {weight.dtype} matrix on {weight.device} cannot be laid out in blocks")
        # Not a buffer: a tensor of that layout can be neither saved nor moved.
        self._blocks = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), USUAL_ROWS)

    def plain_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the weight as it was, (out, in)."""
        return self._blocks.to_dense().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out); a gradient goes through it."""
        return self.through(x)

    def multiply(self, x: Tensor) -> Tensor:
        """Multiply and add the bias."""
        return torch.ops.mkldnn._linear_pointwise(x, self._blocks, self.bias, "none", [], "")
