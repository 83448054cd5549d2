"""Linear layers in fewer bits, for speed or for memory. Approximate.

For speed, places are rounded like weights and torch multiplies the narrow numbers. For memory, weights alone
are kept in fewer bits and unpacked when they are used.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocked import BlockedLinear
from .errors import ModelInputError
from .inference_settings import Quantization
from .packed_linear import Pack, PackedLinear, WithoutGradients

INT4_GROUP = 128  # weights that share a scale; smaller is finer and slower, and 128 divides the 7B's widths
INT4_TILES = 8  # inner tiles of the packed layout on a GPU
WEIGHT_BITS = (8, 4)
WEIGHT_GROUP = 64  # weights that share a scale where they are unpacked: finer, for it costs no time there
LEAST_SCALE = 1e-12  # an all-zero row must not divide by zero


class Bf16Linear(PackedLinear):
    """A product in bfloat16 between values of another type.

    :param blocked: Whether to lay the weight out in blocks.
    """

    weight: Tensor

    def __init__(self, linear: nn.Linear, blocked: bool = False) -> None:
        super().__init__(linear)
        narrow = linear.weight.detach().to(torch.bfloat16)
        self._blocks: BlockedLinear | None = None
        if blocked:
            plain = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")
            plain.weight = nn.Parameter(narrow, requires_grad=False)
            self._blocks = BlockedLinear(plain)
        else:
            self.register_buffer("weight", narrow)

    def product(self, flat: Tensor) -> Tensor:
        """Round the places and multiply."""
        narrow = flat.to(torch.bfloat16)
        return F.linear(narrow, self.weight) if self._blocks is None else self._blocks(narrow)


class RoundedLinear(WithoutGradients):
    """Weights per row and activations per place in 8 bits; derived ones know how these are rounded.

    :param most: Largest number that the 8 bits hold.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, most: float) -> None:
        super().__init__(linear)
        self.most = most
        weight = linear.weight.detach().float()
        scale = self._scale(weight)
        self.register_buffer("weight", self.narrow(weight / scale).t())
        self.register_buffer("scale", scale.t().contiguous())

    def product(self, flat: Tensor) -> Tensor:
        """Round and multiply; a gradient goes through it as if the places were not rounded."""
        return self.through(flat)

    def multiply(self, x: Tensor) -> Tensor:
        """Round the places (places, in), multiply and scale back."""
        scale = self._scale(x)
        return self.multiply_narrow(self.narrow(x / scale), scale).to(x.dtype)

    def plain_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the rounded weight, (out, in)."""
        return self.weight.t().to(dtype) * self.scale.t().to(dtype)

    def narrow(self, values: Tensor) -> Tensor:
        """Round values of at most `most` to 8 bits."""
        raise NotImplementedError

    def multiply_narrow(self, places: Tensor, scale: Tensor) -> Tensor:
        """Multiply narrow places (places, in), whose scales are (places, 1), by the weight."""
        raise NotImplementedError

    def _scale(self, rows: Tensor) -> Tensor:
        return (rows.abs().amax(1, keepdim=True).float() / self.most).clamp(min=LEAST_SCALE)


class Int8Linear(RoundedLinear):
    """Whole numbers, products summed in 32 bits."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear, 127.0)

    def narrow(self, values: Tensor) -> Tensor:
        """Round to the nearest whole number."""
        return torch.round(values).clamp(-self.most, self.most).to(torch.int8)

    def multiply_narrow(self, places: Tensor, scale: Tensor) -> Tensor:
        """Multiply exactly, then scale."""
        return torch._int_mm(places, self.weight) * scale * self.scale


class Fp8Linear(RoundedLinear):
    """Floating point of four bits' exponent and three bits' mantissa."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear, 448.0)

    def narrow(self, values: Tensor) -> Tensor:
        """Round to the nearest number there is."""
        return values.to(torch.float8_e4m3fn)

    def multiply_narrow(self, places: Tensor, scale: Tensor) -> Tensor:
        """Multiply and scale in one."""
        return torch._scaled_mm(places, self.weight, scale, self.scale, out_dtype=torch.bfloat16)


class Int4Linear(PackedLinear):
    """Weights in groups of 4-bit numbers with a scale and an offset each, multiplied in bfloat16.

    How they lie in memory depends on the device: quantise where the model runs.
    """

    weight: Tensor
    pairs: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
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

    def product(self, flat: Tensor) -> Tensor:
        """Multiply in bfloat16."""
        narrow = flat.to(torch.bfloat16)
        if narrow.is_cuda:
            return torch.ops.aten._weight_int4pack_mm(narrow, self.weight, self.group, self.pairs)
        return torch.ops.aten._weight_int4pack_mm_for_cpu(narrow, self.weight, self.group, self.pairs)


class WeightOnlyLinear(PackedLinear):
    """Weights in 8 or 4 bits, symmetric about zero, unpacked at each use: less memory, more time, any device.

    In 8 bits every row has a scale; in 4 bits every 64 weights of a row do.

    :param bits: 8 or 4.
    """

    levels: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__(linear)
        if bits not in WEIGHT_BITS:
            raise ModelInputError(
                f"weights can be kept in {' or '.join(map(str, WEIGHT_BITS))} bits, not {bits!r}"
            )
        self.bits = bits
        self.in_features = linear.in_features
        weight = linear.weight.detach()
        groups = weight.float()[:, None]
        if bits == 4:
            groups = F.pad(groups[:, 0], (0, -self.in_features % WEIGHT_GROUP)).unflatten(
                1, (-1, WEIGHT_GROUP)
            )
        most = 2 ** (bits - 1) - 1
        # in float16, too, a row of zeros must have a scale
        scale = groups.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float16).tiny) / most
        levels = torch.round(groups / scale).clamp(-most, most).to(torch.int8)
        if bits == 4:
            levels = levels + 8
            levels = (levels[..., 0::2] | (levels[..., 1::2] << 4)).to(torch.uint8)
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale.to(weight.dtype))

    @property
    def weight(self) -> Tensor:
        """The weight unpacked, (out, in)."""
        levels = self.levels
        if self.bits == 4:
            levels = torch.stack([levels & 15, levels >> 4], dim=-1).flatten(-2).to(torch.int8) - 8
        rows = (levels.to(self.scale.dtype) * self.scale).flatten(1)
        return rows[:, : self.in_features]

    def product(self, flat: Tensor) -> Tensor:
        """Unpack and multiply."""
        return F.linear(flat, self.weight)


KINDS: dict[Quantization, Pack] = {
    Quantization.BF16: Bf16Linear,
    Quantization.INT8: Int8Linear,
    Quantization.FP8: Fp8Linear,
    Quantization.INT4: Int4Linear,
}


def packer(quantization: Quantization, blocked: bool = False) -> Pack | None:
    """Return what quantises a linear layer for inference; None for none.

    :param blocked: Whether to lay weights out in blocks, of the kinds that can be.
    """
    if quantization is Quantization.BF16:
        return partial(Bf16Linear, blocked=blocked)
    return None if quantization is Quantization.NONE else KINDS[quantization]
