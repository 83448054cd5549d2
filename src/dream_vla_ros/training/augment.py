"""Random crops and colours, drawn per image, and the centre crop that stands for them at inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dream_vla_ros.images import center_crop

_LUMA = np.array([0.299, 0.587, 0.114])
_RGB_TO_YIQ = np.array([_LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)


@dataclass(frozen=True)
class Augmentation:
    """How far training images stray from what inference makes of them.

    :param crop_area: Share of the area that the random crop keeps; inference crops the middle of that size.
    :param brightness: Added to all channels, plus or minus this share of the range.
    :param contrast: Distance from the image's mean, plus or minus this share.
    :param saturation: Distance from grey, plus or minus this share.
    :param hue: Turn of the colour circle, plus or minus this share of it.
    """

    crop_area: float = 0.9
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.crop_area <= 1.0:
            raise ValueError(f"crop area is {self.crop_area}, not within (0, 1]")
        for name in ("brightness", "contrast", "saturation", "hue"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"augmentation {name} is {getattr(self, name)}, not 0 to 1")

    def center(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return images as inference shows them to the model.

        :param images: (N, height, width, 3) uint8 RGB.
        :returns: The same shape, 0 to 255.
        """
        return np.stack([center_crop(image, self.crop_area) for image in images]).astype(np.float32)

    def random(self, images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return images cropped and coloured at random.

        :param images: (N, height, width, 3) uint8 RGB.
        :returns: The same shape, 0 to 255.
        """
        cropped = images.astype(np.float32)
        if self.crop_area < 1.0:
            corners = rng.random((len(images), 2))
            pairs = zip(cropped, corners, strict=True)
            cropped = np.stack([crop(image, self.crop_area, *at) for image, at in pairs])
        if not any((self.brightness, self.contrast, self.saturation, self.hue)):
            return cropped
        return self._colour(cropped, rng)

    def _colour(self, images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        count = len(images)
        brightness, contrast, saturation, hue = (
            rng.uniform(-amount, amount, count)
            for amount in (self.brightness, self.contrast, self.saturation, self.hue)
        )
        turn = 2.0 * np.pi * hue
        chroma = np.zeros((count, 3, 3))
        chroma[:, 0, 0] = 1.0
        chroma[:, 1, 1] = chroma[:, 2, 2] = (1.0 + saturation) * np.cos(turn)
        chroma[:, 1, 2] = (1.0 + saturation) * np.sin(turn)
        chroma[:, 2, 1] = -chroma[:, 1, 2]
        matrix = (1.0 + contrast)[:, None, None] * (_YIQ_TO_RGB @ chroma @ _RGB_TO_YIQ)
        mean = images.mean(axis=(1, 2)) @ _LUMA
        offset = 255.0 * brightness - contrast * mean
        coloured = images.reshape(count, -1, 3) @ matrix.transpose(0, 2, 1).astype(np.float32)
        coloured += offset.astype(np.float32)[:, None, None]
        return np.clip(coloured, 0.0, 255.0, out=coloured).reshape(images.shape)


def crop(image: NDArray[np.float32], area: float, down: float, right: float) -> NDArray[np.float32]:
    """Cut a part out of an image and enlarge it to the former size, bilinearly.

    :param image: (height, width, 3).
    :param area: Share of the area to keep.
    :param down: Where the part is, 0 = top to 1 = bottom; one half is the middle.
    :param right: Likewise from left to right.
    """
    rows, row_shares = _samples(image.shape[0], area, down)
    columns, column_shares = _samples(image.shape[1], area, right)
    upper, lower = image[rows], image[np.minimum(rows + 1, image.shape[0] - 1)]
    mixed = upper + (lower - upper) * row_shares[:, None, None]
    left, beside = mixed[:, columns], mixed[:, np.minimum(columns + 1, image.shape[1] - 1)]
    return left + (beside - left) * column_shares[None, :, None]


def _samples(length: int, area: float, at: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    side = np.sqrt(area)
    positions = (1.0 - side) * at * (length - 1) + np.arange(length) * side
    first = np.floor(positions).astype(np.intp)
    return first, (positions - first).astype(np.float32)
