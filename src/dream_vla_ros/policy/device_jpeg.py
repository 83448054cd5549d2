"""What storing as JPEG loses, computed on a device: all but the entropy coding, which loses nothing."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dream_vla_ros.images import JPEG_QUALITY, JPEG_SUBSAMPLING_420

_BLOCK = 8  # of JPEG's transform
_CENTRE = 128.0
# Full-range ITU-R BT.601, as JFIF has it.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_RED_CR, _GREEN_CB, _GREEN_CR, _BLUE_CB = 1.402, -0.344136286, -0.714136286, 1.772
# The decoder of the training sets uses libjpeg's fast transform (Arai, Agui and Nakajima): its multipliers
# have 8 bits, its table 14 of which 12 are dropped, and what its two passes keep beyond a level is cut off,
# not rounded, which shifts red and blue by more than a level. Exact transforms would miss that.
_MULTIPLIER_BITS, _TABLE_BITS, _TABLE_DROPPED, _CUT_BITS = 8, 14, 12, 5
_1_082, _1_414, _1_848, _2_613 = 277, 362, 473, 669


class JpegRoundTrip:
    """Encodes and decodes images as `images.jpeg_round_trip` does."""

    def __init__(self, device: torch.device) -> None:
        tables = _quantisation()
        self._tables = tables.to(device)
        places = torch.arange(_BLOCK, dtype=torch.float64)
        scale = torch.cos(places * math.pi / 16) * math.sqrt(2.0)
        scale[0] = 1.0
        fine = torch.round(scale[:, None] * scale * 2**_TABLE_BITS) * tables.double()
        self._multipliers = ((fine.long() + 2 ** (_TABLE_DROPPED - 1)) >> _TABLE_DROPPED).int().to(device)
        self._dct = _dct_matrix().to(device)
        self._ycc = torch.tensor(_TO_YCC, device=device)

    def __call__(self, x: Tensor) -> Tensor:
        """Return images (count, 3, H, W) as they come back; whole numbers 0 to 255 in float32."""
        height, width = x.shape[2:]
        # Padded to whole blocks of the halved colours by repeating the last row and column.
        x = F.pad(x, (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK)), mode="replicate")
        ycc = torch.einsum("dc,nchw->ndhw", self._ycc, x)
        luma = self._code((ycc[:, :1] + 0.5).floor(), 0)
        chroma = self._code(_halve((ycc[:, 1:] + _CENTRE + 0.5).floor()), 1)
        # What was padded is not looked at any more when the colours are interpolated.
        chroma = _double(chroma[:, :, : -(-height // 2), : -(-width // 2)]) - _CENTRE
        luma, chroma = luma[:, :, :height, :width], chroma[:, :, :height, :width]
        cb, cr = chroma[:, :1], chroma[:, 1:]
        rgb = torch.cat(
            [luma + _RED_CR * cr, luma + _GREEN_CB * cb + _GREEN_CR * cr, luma + _BLUE_CB * cb], dim=1
        )
        return to_bytes(rgb)

    def _code(self, x: Tensor, table: int) -> Tensor:
        """Transform, quantise and transform back."""
        blocks = (x - _CENTRE).unflatten(3, (-1, _BLOCK)).unflatten(2, (-1, _BLOCK)).transpose(3, 4)
        levels = self._dct @ blocks @ self._dct.T / self._tables[table]
        levels = levels.sign() * (levels.abs() + 0.5).floor()
        scaled = levels.int() * self._multipliers[table]
        blocks = _fast_inverse(_fast_inverse(scaled, 4), 5) >> _CUT_BITS
        return (blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3) + _CENTRE).clamp(0.0, 255.0)


def to_bytes(x: Tensor) -> Tensor:
    """Round to whole numbers 0 to 255."""
    return (x + 0.5).floor().clamp(0.0, 255.0)


def _fast_inverse(x: Tensor, axis: int) -> Tensor:
    """Return one pass of the fast inverse transform along an axis of 8, in int32."""

    def times(value: Tensor, multiplier: int) -> Tensor:
        return (value * multiplier) >> _MULTIPLIER_BITS

    in0, in1, in2, in3, in4, in5, in6, in7 = x.unbind(axis)
    upper, lower = in0 + in4, in0 - in4
    both = in2 + in6
    turned = times(in2 - in6, _1_414) - both
    even0, even3, even1, even2 = upper + both, upper - both, lower + turned, lower - turned
    z13, z10, z11, z12 = in5 + in3, in5 - in3, in1 + in7, in1 - in7
    odd7 = z11 + z13
    z5 = times(z10 + z12, _1_848)
    odd6 = times(z10, -_2_613) + z5 - odd7
    odd5 = times(z11 - z13, _1_414) - odd6
    odd4 = times(z12, _1_082) - z5 + odd5
    return torch.stack(
        [
            even0 + odd7,
            even1 + odd6,
            even2 + odd5,
            even3 - odd4,
            even3 + odd4,
            even2 - odd5,
            even1 - odd6,
            even0 - odd7,
        ],
        dim=axis,
    )


def _halve(x: Tensor) -> Tensor:
    """Average squares of four; halves go down and up in turn along a row."""
    total = x.unflatten(3, (-1, 2)).sum(4).unflatten(2, (-1, 2)).sum(3)
    bias = 1.0 + (torch.arange(total.shape[3], device=x.device) % 2)
    return ((total + bias) / 4.0).floor()


def _double(x: Tensor) -> Tensor:
    """Interpolate between the middles of squares, three parts of the nearer to one of the farther."""
    padded = F.pad(x, (0, 0, 1, 1), mode="replicate")
    upper, lower = 3 * x + padded[:, :, :-2], 3 * x + padded[:, :, 2:]
    tall = torch.stack([upper, lower], dim=3).flatten(2, 3)
    padded = F.pad(tall, (1, 1, 0, 0), mode="replicate")
    left, right = 3 * tall + padded[..., :-2], 3 * tall + padded[..., 2:]
    return torch.stack([((left + 8) / 16).floor(), ((right + 7) / 16).floor()], dim=4).flatten(3, 4)


def _quantisation() -> Tensor:
    """Return the tables (2, 8, 8) of brightness and colour that the encoder has for its quality."""
    buffer = io.BytesIO()
    pixels = Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8))
    pixels.save(buffer, "jpeg", quality=JPEG_QUALITY, subsampling=JPEG_SUBSAMPLING_420)
    with Image.open(io.BytesIO(buffer.getvalue())) as written:
        tables = written.quantization  # type: ignore[attr-defined]
    return torch.tensor([tables[0], tables[1]], dtype=torch.float32).view(2, _BLOCK, _BLOCK)


def _dct_matrix() -> Tensor:
    places = torch.arange(_BLOCK, dtype=torch.float64)
    matrix = torch.cos((2 * places[None, :] + 1) * places[:, None] * math.pi / (2 * _BLOCK))
    matrix *= math.sqrt(2.0 / _BLOCK)
    matrix[0] /= math.sqrt(2.0)
    return matrix.float()
