"""Tests of reading image messages and of the preprocessing that models are trained with."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.images import (
    ImageError,
    Preprocessing,
    center_crop,
    decode,
    jpeg_round_trip,
    preprocess,
    resize,
    rotate_180,
)

GOLDEN = Path(os.environ.get("DREAM_VLA_GOLDEN", Path(__file__).resolve().parents[2] / "shared" / "golden"))
GOLDEN_IMAGES = ("libero_full", "libero_wrist", "synthetic_480x640")
# What the golden data's own description allows, in levels of 255.
MEAN_TOLERANCE = 1.0
# Same libraries, same transform: what is left is rounding between two passes.
TIGHT_MEAN_TOLERANCE = 0.25

WIDTH, HEIGHT = 8, 6


def scene(height=HEIGHT, width=WIDTH):
    """Colours that vary slowly, so that chroma subsampling and demosaicing keep them."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + 20 * x, 30 + 25 * y, np.full_like(x, 90)], axis=-1).clip(0, 255).astype(np.uint8)


def image_message(pixels, encoding, *, padding=0, is_bigendian=0):
    """Lay pixels out as a driver would, with padding at the end of each row."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=rows.shape[1],
        data=rows.tobytes(),
    )


def compressed_message(pixels, kind=".jpg", *, format="jpeg"):
    ok, data = cv2.imencode(kind, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert ok
    return SimpleNamespace(format=format, data=data.tobytes())


def mosaic(pixels, order):
    """Sample one channel per pixel, row by row in the order of a Bayer pattern's name."""
    raw = np.empty(pixels.shape[:2], dtype=pixels.dtype)
    for index, channel in enumerate(order):
        row, column = divmod(index, 2)
        raw[row::2, column::2] = pixels[row::2, column::2, "rgb".index(channel)]
    return raw


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "arrange"),
    [
        ("rgb8", lambda p: p),
        ("bgr8", lambda p: p[..., ::-1]),
        ("rgba8", lambda p: np.dstack([p, np.full(p.shape[:2], 7, np.uint8)])),
        ("bgra8", lambda p: np.dstack([p[..., ::-1], np.full(p.shape[:2], 7, np.uint8)])),
        ("RGB8", lambda p: p),
    ],
)
def test_colour_encodings_are_read_exactly(encoding, arrange, padding):
    pixels = scene()
    assert np.array_equal(decode(image_message(arrange(pixels), encoding, padding=padding)), pixels)


@pytest.mark.parametrize("padding", [0, 3])
def test_mono8_becomes_grey(padding):
    grey = scene()[..., 1]
    result = decode(image_message(grey, "mono8", padding=padding))
    assert np.array_equal(result, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, 4])
def test_mono16_is_scaled_and_byte_order_obeyed(is_bigendian, padding):
    grey = (scene()[..., 0].astype(np.uint16) * 257).astype(">u2" if is_bigendian else "<u2")
    result = decode(image_message(grey, "mono16", padding=padding, is_bigendian=is_bigendian))
    assert np.abs(result[..., 0].astype(int) - scene()[..., 0]).max() <= 1


def test_big_endian_flag_means_nothing_for_bytes():
    assert np.array_equal(decode(image_message(scene(), "rgb8", is_bigendian=1)), scene())


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns_keep_channels_apart(order, bits):
    pixels = np.empty((12, 12, 3), np.uint16)
    pixels[:] = np.array([200, 100, 30]) * (257 if bits == 16 else 1)
    raw = mosaic(pixels.astype(np.uint16 if bits == 16 else np.uint8), order)
    result = decode(image_message(raw, f"bayer_{order}{bits}"))
    assert np.abs(result[3:-3, 3:-3].astype(int) - np.array([200, 100, 30])).max() <= 1


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_yuv_is_read_with_chroma_in_its_place(encoding, order):
    # The reds of ITU-R BT.601 in studio range.
    levels = {"y": 81, "u": 90, "v": 240}
    packed = np.array([levels[letter] for letter in order], np.uint8).reshape(2, 2)
    result = decode(image_message(np.tile(packed, (HEIGHT, WIDTH // 2, 1)), encoding))
    assert result.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(result.astype(int) - np.array([254, 0, 0])).max() <= 2


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 9),
    st.sampled_from(["rgb8", "bgr8"]),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=50)
def test_any_size_and_padding_is_read(height, width, padding, encoding, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    arranged = pixels if encoding == "rgb8" else pixels[..., ::-1]
    assert np.array_equal(decode(image_message(arranged, encoding, padding=padding)), pixels)


def test_converters_agree_where_both_exist():
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS distribution only")
    message = image_message(scene()[..., ::-1], "bgr8")
    assert np.array_equal(
        cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8"), decode(message)
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"encoding": "8UC3"}, "8UC3.*not known.*rgb8"),
        ({"encoding": ""}, "''.*not known"),
        ({"height": 0, "data": b""}, "empty"),
        ({"width": 0}, "empty"),
        ({"step": WIDTH * 3 - 1}, f"step of {WIDTH * 3 - 1} bytes, but {WIDTH} pixels take {WIDTH * 3}"),
        ({"data": b"\0" * 10}, f"holds 10 bytes.*is {WIDTH * 3 * HEIGHT}"),
        ({"data": b"\0" * (WIDTH * 3 * HEIGHT + 1)}, "holds"),
        ({"height": HEIGHT + 1}, "holds"),
    ],
)
def test_malformed_images_are_refused_by_name(change, complaint):
    message = image_message(scene(), "rgb8")
    vars(message).update(change)
    with pytest.raises(ImageError, match=complaint) as caught:
        decode(message, "left/image_raw")
    assert "left/image_raw" in str(caught.value)


def test_odd_width_yuv_is_refused():
    message = image_message(np.zeros((4, 5, 2), np.uint8), "yuyv")
    with pytest.raises(ImageError, match="5 pixels wide"):
        decode(message)


@pytest.mark.parametrize("format", ["jpeg", "rgb8; jpeg compressed bgr8"])
def test_jpeg_is_read_as_rgb(format):
    pixels = cv2.resize(scene(), (64, 48), interpolation=cv2.INTER_CUBIC)
    result = decode(compressed_message(pixels, format=format), "wrist")
    assert result.shape == pixels.shape
    assert np.abs(result.astype(int) - pixels).mean() < 4.0


def test_grey_jpeg_is_read_as_rgb():
    grey = cv2.resize(scene()[..., 0], (32, 32))
    data = cv2.imencode(".jpg", grey)[1].tobytes()
    result = decode(SimpleNamespace(format="mono8; jpeg compressed mono8", data=data))
    assert result.shape == (32, 32, 3)
    assert np.abs(result[..., 2].astype(int) - grey).mean() < 4.0


def test_png_is_read_exactly():
    assert np.array_equal(decode(compressed_message(scene(), ".png", format="png")), scene())


def test_padding_after_a_jpeg_is_allowed():
    message = compressed_message(scene())
    message.data += b"\0" * 100
    assert decode(message).shape == scene().shape


def jpeg_with_broken_scan():
    data = bytearray(
        compressed_message(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).data
    )
    middle = len(data) // 2
    # A restart marker where none was announced damages the entropy-coded data but leaves the frame whole.
    data[middle : middle + 4] = b"\xff\xd0\xff\xd7"
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"hello", "neither JPEG nor PNG"),
        (compressed_message(scene()).data[:-40], "cut short"),
        (compressed_message(scene()).data[:4] + b"\xff\xd9", "damaged"),
        (jpeg_with_broken_scan(), "damaged"),
        (compressed_message(scene(), ".png").data[:-20], "cut short"),
        (b"\x89PNG\r\n\x1a\nIEND\xaeB`\x82", "damaged"),
    ],
)
def test_damaged_compressed_images_are_refused(data, complaint):
    with pytest.raises(ImageError, match=complaint) as caught:
        decode(SimpleNamespace(format="jpeg", data=data), "wrist/image_raw/compressed")
    assert "wrist/image_raw/compressed" in str(caught.value)
    assert "'jpeg'" in str(caught.value)


@given(st.binary(max_size=200), st.booleans())
@settings(deadline=None, max_examples=100)
def test_arbitrary_bytes_never_escape_as_another_error(data, with_header):
    message = SimpleNamespace(
        format="jpeg", data=b"\xff\xd8\xff" + data + b"\xff\xd9" if with_header else data
    )
    with pytest.raises(ImageError):
        decode(message)


def test_rotation_by_180_degrees():
    turned = rotate_180(scene())
    assert np.array_equal(turned[0, 0], scene()[-1, -1])
    assert np.array_equal(rotate_180(turned), scene())


@pytest.fixture(scope="module")
def golden():
    path = GOLDEN / "preprocess.npz"
    if not path.is_file():
        pytest.skip(f"no golden data: {path} is missing; point DREAM_VLA_GOLDEN at the folder that holds it")
    with np.load(path) as data:
        return dict(data)


def assert_close(image, reference, mean_tolerance):
    difference = np.abs(image.astype(np.float64) - reference)
    assert image.shape == reference.shape
    assert difference.mean() < mean_tolerance, f"mean {difference.mean():.3f}, largest {difference.max()}"


@pytest.mark.parametrize("name", GOLDEN_IMAGES)
def test_resize_matches_the_published_one(golden, name):
    assert_close(resize(golden[f"{name}/raw"], 224), golden[f"{name}/resized_no_jpeg"], TIGHT_MEAN_TOLERANCE)


@pytest.mark.parametrize("name", GOLDEN_IMAGES)
def test_jpeg_round_trip_matches_the_published_one(golden, name):
    image = resize(jpeg_round_trip(golden[f"{name}/raw"]), 224)
    assert_close(image, golden[f"{name}/resized"], TIGHT_MEAN_TOLERANCE)


@pytest.mark.parametrize("name", GOLDEN_IMAGES)
def test_center_crop_matches_the_published_one(golden, name):
    image = center_crop(golden[f"{name}/resized"], 0.9)
    assert_close(image, golden[f"{name}/center_cropped"], TIGHT_MEAN_TOLERANCE)


@pytest.mark.parametrize("name", GOLDEN_IMAGES)
def test_preprocessing_matches_the_published_one(golden, name):
    image = preprocess(golden[f"{name}/raw"], Preprocessing(224))
    assert_close(image, golden[f"{name}/center_cropped"], TIGHT_MEAN_TOLERANCE)
    assert_close(
        preprocess(golden[f"{name}/raw"], Preprocessing(224, jpeg=False, crop_area=1.0)),
        golden[f"{name}/resized_no_jpeg"],
        MEAN_TOLERANCE,
    )


def test_preprocessing_squeezes_to_a_square():
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, 60:] = 255
    result = preprocess(image, Preprocessing(30, jpeg=False, crop_area=1.0))
    assert result.shape == (30, 30, 3)
    assert result[:, :13].max() < 20
    assert result[:, 17:].min() > 235


def test_preprocessing_is_pure():
    image = scene(40, 50)
    before = image.copy()
    first = preprocess(image, Preprocessing(16))
    assert np.array_equal(first, preprocess(image, Preprocessing(16)))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("area", [0.25, 0.5, 0.9, 1.0])
def test_crop_keeps_the_middle_and_a_plain_image(area):
    plain = np.full((17, 17, 3), 255, np.uint8)
    assert np.array_equal(center_crop(plain, area), plain)
    ramp = np.repeat(np.arange(17, dtype=np.uint8)[None, :, None] * 10, 17, axis=0).repeat(3, axis=2)
    cropped = center_crop(ramp, area)
    assert cropped[8, 8, 0] == 80
    assert cropped[0, 0, 0] == pytest.approx(80 * (1 - area**0.5), abs=1.0)


@pytest.mark.parametrize(
    "settings_", [{"size": 0}, {"size": 8, "crop_area": 0.0}, {"size": 8, "crop_area": 1.1}]
)
def test_impossible_preprocessing_is_refused(settings_):
    with pytest.raises(ValueError, match="image size|crop area"):
        Preprocessing(**settings_)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_preprocessing_refuses_what_is_no_rgb_image(image):
    with pytest.raises(ImageError, match="not \\(H, W, 3\\)"):
        preprocess(image, Preprocessing(8))


def test_preprocessing_tells_what_it_does():
    assert Preprocessing(112).words == "of 112 x 112 pixels, through JPEG, cropped to 90% of the area"
    assert Preprocessing(56, jpeg=False, crop_area=1.0).words.endswith("without JPEG, not cropped")
