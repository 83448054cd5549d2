"""Tests for videos."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation, VideoReformatter

from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.data.video import (
    Codec,
    VideoSettings,
    VideoWriter,
    as_fraction,
    join,
    read_video,
    yuv420,
)


def frames(count: int, start: int = 0) -> list[np.ndarray]:
    """Grey images that tell their number."""
    return [np.full((32, 48, 3), 20 + 5 * (start + number), np.uint8) for number in range(count)]


def write(path, images, rate=5.0, codec=Codec.H264):
    with VideoWriter(path, rate, VideoSettings(codec)) as video:
        for image in images:
            video.write(image)
    return path


def numbers(images) -> list[int]:
    return [round((float(image.mean()) - 20) / 5) for image in images]


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("rate", [5.0, 12.5, 30.0])
def test_frames_come_back_in_order_and_one_by_one(tmp_path, codec, rate):
    path = write(tmp_path / "v.mp4", frames(13), rate, codec)
    assert numbers(read_video(path)) == list(range(13))
    for start in (0, 1, 6, 12):
        assert numbers(read_video(path, start, 1, rate)) == [start]
    assert numbers(read_video(path, 4, 5, rate)) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("codec", list(Codec))
def test_joined_videos_are_one(tmp_path, codec):
    parts = [write(tmp_path / f"{start}.mp4", frames(4 + start, start), codec=codec) for start in (0, 4, 12)]
    join(parts, tmp_path / "whole.mp4")
    assert numbers(read_video(tmp_path / "whole.mp4")) == [*range(4), *range(4, 12), *range(12, 28)]
    assert numbers(read_video(tmp_path / "whole.mp4", 5, 3, 5.0)) == [5, 6, 7]


def test_the_same_frames_give_the_same_bytes(tmp_path):
    first, second = (write(tmp_path / f"{name}.mp4", frames(9)).read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize("size", [(480, 640), (34, 48), (30, 18)])
def test_colours_are_those_that_ffmpegs_scaler_would_make(size):
    random = np.random.default_rng(0)
    smooth = cv2.resize(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), size[::-1])
    noise = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    for image in (smooth, noise, smooth[::-1, ::-1]):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        wanted = VideoReformatter().reformat(frame, format="yuv420p", interpolation=Interpolation.AREA)
        difference = yuv420(image).astype(int) - wanted.to_ndarray().astype(int)
        assert np.abs(difference).max() <= 2
        assert np.abs(difference).mean() < 0.3


def test_a_video_that_ends_early_is_an_error(tmp_path):
    path = write(tmp_path / "v.mp4", frames(5))
    with pytest.raises(DatasetError, match="ends after frame 5, not 8"):
        list(read_video(path, 3, 5, 5.0))
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"v\.mp4: cannot be decoded"):
        list(read_video(path))


def test_odd_sides_are_refused(tmp_path):
    with (
        pytest.raises(DatasetError, match="47 x 31"),
        VideoWriter(tmp_path / "v.mp4", 5.0, VideoSettings()) as video,
    ):
        video.write(np.zeros((31, 47, 3), np.uint8))


def test_rates_are_fractions():
    assert (as_fraction(12.5).numerator, as_fraction(12.5).denominator) == (25, 2)
    assert as_fraction(30.0) == 30
