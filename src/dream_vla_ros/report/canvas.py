"""An image to draw on: smooth lines by OpenCV, text by Pillow."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from dream_vla_ros.images import RGBImage

Colour = tuple[int, int, int]

# Sub-pixel positions for OpenCV, which takes fixed-point coordinates: 1/16 of a pixel.
_SHIFT = 4
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


class Canvas:
    """An RGB image with what the video needs to draw.

    :param width: In pixels.
    :param height: In pixels.
    :param background: Colour it begins with.
    """

    def __init__(self, width: int, height: int, background: Colour = (0, 0, 0)) -> None:
        self.pixels: RGBImage = np.empty((height, width, 3), dtype=np.uint8)
        self.pixels[:] = background

    def paste(self, image: RGBImage, left: int, top: int) -> None:
        """Put an image, which must fit.

        :param image: (h, w, 3) uint8 RGB.
        """
        height, width = image.shape[:2]
        self.pixels[top : top + height, left : left + width] = image

    def rectangle(
        self, left: int, top: int, width: int, height: int, colour: Colour, *, outline: bool = False
    ) -> None:
        """Draw a rectangle, filled or as an outline one pixel wide."""
        corner = (left + width - 1, top + height - 1)
        cv2.rectangle(self.pixels, (left, top), corner, colour, 1 if outline else cv2.FILLED)

    def disc(self, centre: ArrayLike, radius: float, colour: Colour, *, width: float = 0.0) -> None:
        """Draw a disc, or a ring of the given width."""
        x, y = _fixed(centre)
        thickness = max(round(width), 1) if width else cv2.FILLED
        cv2.circle(self.pixels, (x, y), round(radius * 2**_SHIFT), colour, thickness, cv2.LINE_AA, _SHIFT)

    def line(self, points: ArrayLike, colour: Colour, width: float) -> None:
        """Draw a line through points; it is interrupted where one is NaN.

        :param points: (n, 2) pixels.
        """
        for start, end in zip(np.asarray(points)[:-1], np.asarray(points)[1:], strict=True):
            if np.all(np.isfinite(start)) and np.all(np.isfinite(end)):
                cv2.line(
                    self.pixels, _fixed(start), _fixed(end), colour, max(round(width), 1), cv2.LINE_AA, _SHIFT
                )

    def arrow(self, start: ArrayLike, end: ArrayLike, colour: Colour, width: float) -> None:
        """Draw an arrow with a filled head, on a dark rim that keeps it visible on any ground."""
        begin, tip = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        length = float(np.linalg.norm(tip - begin))
        if not np.isfinite(length) or length < width:
            return
        along = (tip - begin) / length
        across = np.array([-along[1], along[0]])
        head = min(3.6 * width, 0.6 * length)
        neck = tip - head * along
        for colour_now, extra in (((16, 16, 16), 3.0), (colour, 0.0)):
            rim = 0.5 * extra
            self.line([begin, neck], colour_now, width + extra)
            side = (0.55 * head + rim) * across
            corners = [tip + 1.8 * rim * along, neck - rim * along + side, neck - rim * along - side]
            polygon = np.array([_fixed(corner) for corner in corners], dtype=np.int32)
            cv2.fillConvexPoly(self.pixels, polygon, colour_now, cv2.LINE_AA, _SHIFT)

    def text(
        self,
        text: str,
        left: float,
        middle: float,
        size: int,
        colour: Colour,
        *,
        bold: bool = False,
        align: str = "left",
    ) -> float:
        """Write text.

        :param left: Where it begins; where it ends or its middle, by ``align``.
        :param middle: Height of its middle.
        :param align: ``left``, ``right`` or ``middle``.
        :returns: Its width in pixels.
        """
        mask = _glyphs(text, size, bold)
        height, width = mask.shape
        x = round(left - {"left": 0.0, "right": 1.0, "middle": 0.5}[align] * width)
        y = round(middle - height / 2.0)
        top, bottom = max(y, 0), min(y + height, self.pixels.shape[0])
        first, last = max(x, 0), min(x + width, self.pixels.shape[1])
        if top < bottom and first < last:
            cover = mask[top - y : bottom - y, first - x : last - x, None]
            below = self.pixels[top:bottom, first:last]
            below[:] = (below * (1.0 - cover) + cover * np.array(colour, dtype=np.float32)).astype(np.uint8)
        return float(width)


def text_width(text: str, size: int, *, bold: bool = False) -> float:
    """Return how wide text would be in pixels."""
    return float(_glyphs(text, size, bold).shape[1])


def shorten(text: str, size: int, width: float, *, bold: bool = False) -> str:
    """Cut text that is wider than allowed, with an ellipsis.

    :param width: Widest it may be in pixels.
    """
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def fit(image: RGBImage, width: int, height: int) -> RGBImage:
    """Resize an image to a size, keeping straight pixels when it grows a lot.

    :param image: (h, w, 3) uint8 RGB.
    """
    shrinks = image.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))


@lru_cache(maxsize=64)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


@lru_cache(maxsize=1024)
def _glyphs(text: str, size: int, bold: bool) -> NDArray[np.float32]:
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    image = Image.new("L", (max(int(np.ceil(font.getlength(text))), 1), ascent + descent))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
    return np.asarray(image, dtype=np.float32) / 255.0


def _fixed(point: ArrayLike) -> tuple[int, int]:
    # Far outside the image the exact place does not matter, and OpenCV's fixed point would overflow.
    x, y = np.clip(np.asarray(point, dtype=np.float64), -1e4, 1e4) * 2**_SHIFT
    return round(float(x)), round(float(y))
