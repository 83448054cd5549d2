"""Camera images to patches on the model's device: one upload of bytes, then matrix products.

Follows `images.preprocess` and the checkpoint's image processor step by step: resizing and cropping agree to
the rounding of ties, JPEG to that of its transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dream_vla_ros.images import Preprocessing, RGBImage, resize
from dream_vla_ros.model.capture import Captured
from dream_vla_ros.policy.device_jpeg import JpegRoundTrip, to_bytes

_LOBES = 3.0  # of the Lanczos filter
# TensorFlow turns [0, 1] into bytes as floor(x * 255.5).
_TO_BYTES = 255.5 / 255.0


class DeviceImages:
    """Prepares camera images on a device.

    :param settings: What is done to camera images.
    :param processor: The checkpoint's, for its normalisation and the layout of patches.
    :param device: Where to compute.
    :param record: Whether to record the work once per size of images, on a GPU.
    """

    def __init__(
        self,
        settings: Preprocessing,
        processor: Qwen2VLImageProcessorPil,
        device: torch.device,
        record: bool = True,
    ) -> None:
        self._settings = settings
        self._device = device
        self._patch = int(processor.patch_size)
        self._merge = int(processor.merge_size)
        self._frames = int(processor.temporal_patch_size)
        side = self._patch * self._merge
        if settings.size % side:
            raise ValueError(f"images of {settings.size} pixels are no whole number of {side}-pixel tokens")
        scale = float(processor.rescale_factor)
        self._mean = self._column(processor.image_mean) / scale
        self._deviation = self._column(processor.image_std) / scale
        self._jpeg = JpegRoundTrip(device)
        self._crop = None if settings.crop_area >= 1.0 else _crop_matrix(settings.size, settings.crop_area)
        if self._crop is not None:
            self._crop = self._crop.to(device)
        self._resizes: dict[tuple[int, int], _Resize] = {}
        self._pinned: dict[tuple[int, ...], Tensor] = {}
        self._run = Captured(lambda _, images: self.patches(images), record)

    def __call__(self, images: Sequence[RGBImage]) -> tuple[Tensor, Tensor]:
        """Prepare images.

        :param images: (H, W, 3) uint8 RGB, of one size or of several.
        :returns: Patches (count, width) float32 on the device, and grids (images, 3).
        """
        sizes = list(dict.fromkeys(image.shape for image in images))
        done = {}
        for size in sizes:
            batch = self._upload([image for image in images if image.shape == size])
            done[size] = iter(self._run(None, batch))
        patches = torch.cat([next(done[image.shape]) for image in images])
        side = self._settings.size // self._patch
        return patches, torch.tensor([[1, side, side]] * len(images))

    def pixels(self, images: Tensor) -> Tensor:
        """Return images (count, 3, size, size), float32 but whole numbers 0 to 255, as `preprocess` does.

        :param images: (count, H, W, 3) uint8.
        """
        x = images.permute(0, 3, 1, 2).float()
        if self._settings.jpeg:
            x = self._jpeg(x)
        height, width = x.shape[2:]
        size = self._settings.size
        if (height, width) != (size, size):
            x = self._resize(height, width)(x)
        if self._crop is not None:
            x = ((self._crop @ x) @ self._crop.T * _TO_BYTES).clamp(max=255.0).floor()
        return x

    def patches(self, images: Tensor) -> Tensor:
        """Return the patches (count, patches, width) of images (count, H, W, 3) uint8."""
        x = (self.pixels(images) - self._mean) / self._deviation
        side = self._settings.size // (self._patch * self._merge)
        x = x.unflatten(3, (side, self._merge, self._patch)).unflatten(2, (side, self._merge, self._patch))
        # count, colour, row, row in square, y, column, column in square, x
        x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)
        x = x.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, self._frames, -1, -1)
        return x.flatten(5).flatten(1, 4)

    def _upload(self, images: Sequence[RGBImage]) -> Tensor:
        shape = (len(images), *images[0].shape)
        if self._device.type != "cuda":
            return torch.from_numpy(np.stack(images)).to(self._device)
        if shape not in self._pinned:
            self._pinned = {shape: torch.empty(shape, dtype=torch.uint8, pin_memory=True)}
        staging = self._pinned[shape]
        # The former upload from here has ended: its prediction was read since.
        np.stack(images, out=staging.numpy())
        return staging.to(self._device, non_blocking=True)

    def _resize(self, height: int, width: int) -> _Resize:
        if (height, width) not in self._resizes:
            self._resizes[height, width] = _Resize.like_pillow(
                height, width, self._settings.size, self._device
            )
        return self._resizes[height, width]

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None, None]


@dataclass(frozen=True)
class _Resize:
    """A resize in two passes, with whole numbers between them.

    :param rows: (size, height) weights.
    :param columns: (size, width) weights.
    :param columns_first: Which pass is first; it shows where the filter overshoots.
    """

    rows: Tensor
    columns: Tensor
    columns_first: bool

    @classmethod
    def like_pillow(cls, height: int, width: int, size: int, device: torch.device) -> _Resize:
        """Make the resize that Pillow does: which pass it takes first differs by version and size."""
        rows, columns = _lanczos_matrix(height, size), _lanczos_matrix(width, size)
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = torch.from_numpy(resize(noise, size).copy()).permute(2, 0, 1).float()
        given = torch.from_numpy(noise).permute(2, 0, 1).float()
        errors = [float((cls(rows, columns, first)(given) - expected).abs().sum()) for first in (True, False)]
        return cls(rows.to(device), columns.to(device), errors[0] <= errors[1])

    def __call__(self, x: Tensor) -> Tensor:
        """Resize (..., height, width)."""
        if self.columns_first:
            return to_bytes(self.rows @ to_bytes(x @ self.columns.T))
        return to_bytes(to_bytes(self.rows @ x) @ self.columns.T)


def _lanczos_matrix(length: int, size: int) -> Tensor:
    """Return the weights (size, length) of an antialiased resize, as Pillow computes them."""
    scale = length / size
    stretch = max(scale, 1.0)
    reach = _LOBES * stretch
    weights: NDArray[np.float64] = np.zeros((size, length))
    for row in range(size):
        centre = (row + 0.5) * scale
        first, last = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), length)
        offsets = (np.arange(first, last) - centre + 0.5) / stretch
        taps = np.where(np.abs(offsets) < _LOBES, np.sinc(offsets) * np.sinc(offsets / _LOBES), 0.0)
        weights[row, first:last] = taps / taps.sum()
    return torch.from_numpy(weights).float()


def _crop_matrix(size: int, area: float) -> Tensor:
    """Return the weights (size, size) that enlarge the middle of an image, bilinearly."""
    side = np.sqrt(area)
    places = (1.0 - side) / 2.0 * (size - 1) + np.arange(size) * side
    first = np.floor(places).astype(np.intp)
    weights = np.zeros((size, size))
    weights[np.arange(size), first] += 1.0 - (places - first)
    weights[np.arange(size), np.minimum(first + 1, size - 1)] += places - first
    return torch.from_numpy(weights).float()
