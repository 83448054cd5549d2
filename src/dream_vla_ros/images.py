"""Image messages to RGB arrays, and RGB arrays to what the model was trained on.

Messages are read by their fields, so nothing of ROS is imported: ``sensor_msgs/Image`` and
``CompressedImage`` from rclpy, from a bag or made by hand all do. :func:`preprocess` is a pure function of an
image and a :class:`Preprocessing`; inference and dataset making call the same one.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

RGBImage: TypeAlias = NDArray[np.uint8]

# Quality and 4:2:0 subsampling are the defaults of TensorFlow's encoder, which wrote the training sets.
JPEG_QUALITY = 95
JPEG_SUBSAMPLING_420 = 2
# Only JPEG and PNG can be told to be whole by their last bytes; cameras send nothing else.
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class ImageError(ValueError):
    """An image that cannot be used; the message names its topic and encoding."""


@dataclass(frozen=True)
class _Layout:
    """How one encoding stores pixels.

    :param name: What both converters call it.
    :param pixel_bytes: Bytes per pixel.
    :param even_width: Whether two pixels share their colour.
    """

    name: str
    pixel_bytes: int
    wide: bool = False
    even_width: bool = False


_LAYOUTS: dict[str, _Layout] = {
    "mono8": _Layout("mono8", 1),
    "mono16": _Layout("mono16", 2, wide=True),
    "yuv422": _Layout("yuv422", 2, even_width=True),
    "uyvy": _Layout("yuv422", 2, even_width=True),
    "yuv422_yuy2": _Layout("yuv422_yuy2", 2, even_width=True),
    "yuyv": _Layout("yuv422_yuy2", 2, even_width=True),
    **{
        f"{order}{bits}": _Layout(f"{order}{bits}", len(order) * bits // 8, wide=bits == 16)
        for order in ("rgb", "bgr", "rgba", "bgra")
        for bits in (8, 16)
    },
    **{
        f"bayer_{order}{bits}": _Layout(f"bayer_{order}{bits}", bits // 8, wide=bits == 16)
        for order in ("rggb", "bggr", "gbrg", "grbg")
        for bits in (8, 16)
    },
}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a camera image before the model sees it.

    :param size: Side of the square the model takes, in pixels. The aspect ratio is not kept, as in training.
    :param jpeg: Encode and decode as JPEG first, as the training sets were stored.
    :param crop_area: Share of the area that the centre crop keeps: 0.9 for models trained on random crops of
        that area, as the published ones; 1.0 for no crop.
    """

    size: int
    jpeg: bool = True
    crop_area: float = 0.9

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"image size is {self.size} pixels, not positive")
        if not 0.0 < self.crop_area <= 1.0:
            raise ValueError(f"crop area is {self.crop_area}, not within (0, 1]")

    @property
    def words(self) -> str:
        """What is done, for a log."""
        jpeg = "through JPEG" if self.jpeg else "without JPEG"
        crop = f"cropped to {self.crop_area:.0%} of the area" if self.crop_area < 1.0 else "not cropped"
        return f"of {self.size} x {self.size} pixels, {jpeg}, {crop}"


def decode(message: Any, topic: str = "") -> RGBImage:
    """Turn an image message into an RGB array.

    :param message: ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``, or anything with their fields.
    :param topic: Where it came from, for messages.
    :returns: (H, W, 3) uint8. It may share the message's memory.
    :raises ImageError: If the encoding is not known, sizes disagree or the data is damaged.
    """
    where = f"image on '{topic}'" if topic else "image"
    if hasattr(message, "format"):
        return _decode_compressed(message, where)
    return _decode_raw(message, where)


def preprocess(image: RGBImage, settings: Preprocessing) -> RGBImage:
    """Prepare an upright camera image for the model exactly as the training images were.

    :param image: (H, W, 3) uint8 RGB.
    :returns: (size, size, 3) uint8 RGB.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ImageError(f"image has shape {image.shape} and type {image.dtype}, not (H, W, 3) uint8")
    if settings.jpeg:
        image = jpeg_round_trip(image)
    return center_crop(resize(image, settings.size), settings.crop_area)


def rotate_180(image: RGBImage) -> RGBImage:
    """Turn an image upside down.

    :param image: (H, W, 3).
    """
    return np.ascontiguousarray(image[::-1, ::-1])


def jpeg_round_trip(image: RGBImage) -> RGBImage:
    """Lose what storing as JPEG loses.

    The training images were decoded with libjpeg's fast integer transform (TensorFlow's default), which at
    this quality differs from the accurate one by a level per pixel; OpenCV and Pillow have the accurate one
    only.

    :param image: (H, W, 3) uint8 RGB.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=JPEG_QUALITY, subsampling=JPEG_SUBSAMPLING_420)
    return simplejpeg.decode_jpeg(buffer.getbuffer(), "RGB", fastdct=True)


def resize(image: RGBImage, size: int) -> RGBImage:
    """Resize to a square with a Lanczos filter of three lobes, antialiased.

    :param image: (H, W, 3) uint8 RGB.
    :param size: Side in pixels.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def center_crop(image: RGBImage, area: float) -> RGBImage:
    """Keep the middle of an image and enlarge it to the former size, bilinearly.

    :param image: (H, W, 3) uint8 RGB.
    :param area: Share of the area to keep, 0 to 1.
    """
    if area >= 1.0:
        return image
    rows, row_shares = _crop_samples(image.shape[0], area)
    columns, column_shares = _crop_samples(image.shape[1], area)
    upper, lower = image[rows].astype(np.float32), image[np.minimum(rows + 1, image.shape[0] - 1)]
    upper += (lower - upper) * row_shares[:, None, None]
    left, right = upper[:, columns], upper[:, np.minimum(columns + 1, image.shape[1] - 1)]
    left += (right - left) * column_shares[None, :, None]
    # TensorFlow turns [0, 1] into bytes as floor(x * 255.5).
    return np.minimum(left * np.float32(255.5 / 255.0), 255.0).astype(np.uint8)


@cache
def _crop_samples(length: int, area: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    side = np.sqrt(area)
    positions = (1.0 - side) / 2.0 * (length - 1) + np.arange(length) * side
    first = np.floor(positions).astype(np.intp)
    return first, (positions - first).astype(np.float32)


def _decode_raw(message: Any, where: str) -> RGBImage:
    encoding, height, width, step = message.encoding, message.height, message.width, message.step
    where = f"{where} with encoding '{encoding}'"
    layout = _LAYOUTS.get(encoding.strip().lower())
    if layout is None:
        raise ImageError(f"{where}: not known; set the camera driver to one of {', '.join(sorted(_LAYOUTS))}")
    if height < 1 or width < 1:
        raise ImageError(f"{where}: is empty, {width} x {height} pixels")
    if layout.even_width and width % 2:
        raise ImageError(f"{where}: is {width} pixels wide, but two pixels share their colour")
    row_bytes = width * layout.pixel_bytes
    if step < row_bytes:
        raise ImageError(f"{where}: has a step of {step} bytes, but {width} pixels take {row_bytes}")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if len(data) != step * height:
        raise ImageError(
            f"{where}: holds {len(data)} bytes, but step {step} x height {height} is {step * height}"
        )
    # The wheels' converter ignores padding, and both differ in how they treat big-endian data.
    data = data.reshape(height, step)[:, :row_bytes]
    if layout.wide and message.is_bigendian:
        data = np.ascontiguousarray(data).view(np.uint16).byteswap().view(np.uint8)
    plain = SimpleNamespace(
        height=height,
        width=width,
        encoding=layout.name,
        is_bigendian=0,
        step=row_bytes,
        data=np.ascontiguousarray(data).reshape(-1),
    )
    try:
        return np.ascontiguousarray(_converter()(plain), dtype=np.uint8)
    except Exception as error:  # cv_bridge, rosbags and OpenCV each raise classes of their own
        raise ImageError(f"{where}, {width} x {height} pixels: cannot be converted: {error}") from error


def _decode_compressed(message: Any, where: str) -> RGBImage:
    where = f"{where} with format '{message.format}'"
    data = bytes(message.data)
    try:
        if data.startswith(_JPEG_START):
            # Drivers pad with zeros; a frame cut short has lost its end marker and would decode to grey.
            if not data.rstrip(b"\0").endswith(_JPEG_END):
                raise ImageError(f"{where}: is cut short ({len(data)} bytes without JPEG's end marker)")
            return simplejpeg.decode_jpeg(data, "RGB")
        if data.startswith(_PNG_START):
            if not data.rstrip(b"\0").endswith(_PNG_END):
                raise ImageError(f"{where}: is cut short ({len(data)} bytes without PNG's end chunk)")
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if pixels is None:
                raise ImageError(f"{where}: is damaged PNG data ({len(data)} bytes)")
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
    except ImageError:
        raise
    except Exception as error:  # both decoders raise classes of their own
        raise ImageError(f"{where}: is damaged ({len(data)} bytes): {error}") from error
    raise ImageError(f"{where}: holds {len(data)} bytes that are neither JPEG nor PNG")


@cache
def _converter() -> Callable[[Any], Any]:
    """Return what turns an unpadded raw message into RGB: cv_bridge, or rosbags-image where there is none."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        from rosbags.image import message_to_cvimage

        return lambda message: message_to_cvimage(message, "rgb8")
    bridge = CvBridge()
    return lambda message: bridge.imgmsg_to_cv2(message, desired_encoding="rgb8")
