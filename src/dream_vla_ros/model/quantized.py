"""Linear layers in fewer bits, by the products that torch has for them. Approximate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .errors import ModelInputError
from .fused import Pack
from .inference_settings import Quantization

INT4_GROUP = 128  # weights that share a scale; smaller is finer and slower, and 128 divides the 7B's widths
INT4_TILES = 8  # inner tiles of the packed layout on a GPU
LEAST_SCALE = 1e-12  # an all-zero row must not divide by zero
INT8_MOST, FP8_MOST = 127.0, 448.0


class Bf16Linear(nn.Module):
    """A product in bfloat16 between values of another type."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().to(torch.bfloat16))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        """Round the places, multiply, and go back to their type."""
        return nn.functional.linear(x.to(torch.bfloat16), self.weight, self.bias).to(x.dtype)


class _StraightThrough(torch.autograd.Function):
    """Runs a rounded product forwards and the weight's own product backwards, for guidance by gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Int8Linear | Fp8Linear) -> Tensor:
        """Run the layer."""
        ctx.layer = layer
        return layer.rounded(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Return the gradient with respect to x as if nothing had been rounded but the weight."""
        (grad,) = grads
        layer = ctx.layer
        weight = layer.weight.t().to(grad.dtype) * layer.scale.reshape(-1, 1).to(grad.dtype)
        return grad @ weight, None


class Int8Linear(nn.Module):
    """Weights per row and activations per place in 8 bits, products summed in 32."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(1) / INT8_MOST).clamp(min=LEAST_SCALE)
        self.register_buffer("weight", torch.round(weight / scale[:, None]).to(torch.int8).t())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the product; a gradient goes through it as if the places were not rounded."""
        return _StraightThrough.apply(x, self) if x.requires_grad else self.rounded(x)

    def rounded(self, x: Tensor) -> Tensor:
        """Quantise the places, multiply, and scale back."""
        flat = x.flatten(0, -2)
        scale = (flat.abs().amax(1, keepdim=True).float() / INT8_MOST).clamp(min=LEAST_SCALE)
        rounded = torch.round(flat / scale.to(flat.dtype)).clamp(-INT8_MOST, INT8_MOST).to(torch.int8)
        y = (torch._int_mm(rounded, self.weight) * scale * self.scale).to(x.dtype)
        if self.bias is not None:
            y = y + self.bias
        return y.unflatten(0, x.shape[:-1])


class Fp8Linear(nn.Module):
    """Weights per row and activations per place in 8-bit floating point."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(1, keepdim=True) / FP8_MOST).clamp(min=LEAST_SCALE)
        self.register_buffer("weight", (weight / scale).to(torch.float8_e4m3fn).t())
        self.register_buffer("scale", scale.t().contiguous())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the product; a gradient goes through it as if the places were not rounded."""
        return _StraightThrough.apply(x, self) if x.requires_grad else self.rounded(x)

    def rounded(self, x: Tensor) -> Tensor:
        """Quantise the places and multiply."""
        flat = x.flatten(0, -2)
        scale = (flat.abs().amax(1, keepdim=True).float() / FP8_MOST).clamp(min=LEAST_SCALE)
        narrow = (flat / scale).to(torch.float8_e4m3fn)
        y = torch._scaled_mm(narrow, self.weight, scale, self.scale, out_dtype=torch.bfloat16).to(x.dtype)
        if self.bias is not None:
            y = y + self.bias
        return y.unflatten(0, x.shape[:-1])


class Int4Linear(nn.Module):
    """Weights in groups of 4-bit numbers with a scale and an offset each; activations stay as they are."""

    weight: Tensor
    pairs: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self.group = INT4_GROUP if weight.shape[1] % INT4_GROUP == 0 else 32
        if weight.shape[1] % self.group or weight.shape[0] % 16:
            raise ModelInputError(
                f"a matrix of {tuple(weight.shape)} does not divide into groups of {self.group} for int4"
            )
        groups = weight.unflatten(1, (-1, self.group))
        low, high = groups.amin(-1), groups.amax(-1)
        scale = ((high - low) / 15).clamp(min=LEAST_SCALE)
        zero = low + 8 * scale  # the kernels count from the middle of the 16 levels
        levels = torch.round((groups - low[..., None]) / scale[..., None]).clamp(0, 15).to(torch.int32)
        levels = levels.flatten(1)
        pairs = torch.stack([scale, zero], dim=-1).transpose(0, 1).contiguous().to(torch.bfloat16)
        if weight.is_cuda:
            bytes_ = (levels[:, ::2] << 4 | levels[:, 1::2]).to(torch.uint8)
            packed = torch.ops.aten._convert_weight_to_int4pack(bytes_, INT4_TILES)
        else:
            packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)
        self.register_buffer("weight", packed)
        self.register_buffer("pairs", pairs)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Multiply in bfloat16."""
        flat = x.flatten(0, -2).to(torch.bfloat16)
        if flat.is_cuda:
            y = torch.ops.aten._weight_int4pack_mm(flat, self.weight, self.group, self.pairs)
        else:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, self.weight, self.group, self.pairs)
        y = y.to(x.dtype)
        if self.bias is not None:
            y = y + self.bias
        return y.unflatten(0, x.shape[:-1])


KINDS: dict[Quantization, type[nn.Module]] = {
    Quantization.BF16: Bf16Linear,
    Quantization.INT8: Int8Linear,
    Quantization.FP8: Fp8Linear,
    Quantization.INT4: Int4Linear,
}


def packer(quantization: Quantization) -> Pack | None:
    """Return what quantises a linear layer; None for none."""
    return None if quantization is Quantization.NONE else KINDS[quantization]
