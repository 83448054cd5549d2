"""Frames to MP4 files and back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
import numpy.typing as npt

from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.images import RGBImage

# Colour differences of full range, 0 to 255 about 128, to those of limited range, 16 to 240.
_LIMITED = np.clip(np.round((np.arange(256) - 128) * (224 / 255) + 128), 0, 255).astype(np.uint8)


class Codec(str, Enum):
    """How videos are compressed."""

    H264 = "h264"
    AV1 = "av1"


@dataclass(frozen=True)
class VideoSettings:
    """How videos are encoded; the same settings and frames give the same bytes.

    :param quality: Constant rate factor; lower is better and larger.
    :param keyframe_every: Frames from one that stands for itself to the next: 2 as LeRobot writes, for random
        access in training.
    """

    codec: Codec = Codec.H264
    quality: int = 20
    keyframe_every: int = 2

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return {Codec.H264: "libx264", Codec.AV1: "libsvtav1"}[self.codec]

    @property
    def options(self) -> dict[str, str]:
        """Options of the encoder."""
        # One thread each: cameras and episodes run in parallel already, and the result does not depend on it.
        # With every second frame a keyframe slower presets save bytes, but the images are no better.
        own = {
            Codec.H264: {"preset": "ultrafast", "bf": "0", "threads": "1"},
            Codec.AV1: {"preset": "10", "svtav1-params": "lp=1"},
        }[self.codec]
        return {"crf": str(self.quality), "g": str(self.keyframe_every), **own}


class VideoWriter:
    """Writes one MP4 file, frame by frame; a context manager.

    :param rate: Frames per second.
    :raises DatasetError: On the first frame, if its size cannot be encoded.
    """

    def __init__(self, path: Path, rate: float, settings: VideoSettings) -> None:
        self.path = path
        self.frames = 0
        self._rate = as_fraction(rate)
        self._settings = settings
        self._stream: av.VideoStream | None = None
        self._container = av.open(str(path), "w", format="mp4")

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def write(self, image: RGBImage) -> None:
        """Append a frame.

        :param image: (H, W, 3) uint8, of one size throughout.
        """
        if self._stream is None:
            self._stream = self._start(image.shape[0], image.shape[1])
        frame = av.VideoFrame.from_numpy_buffer(yuv420(image), format="yuv420p")
        frame.pts = self.frames
        frame.time_base = 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def _start(self, height: int, width: int) -> av.VideoStream:
        if height % 2 or width % 2:
            raise DatasetError(
                f"{self.path.name}: images are {width} x {height}, but videos need even sides; "
                "store images instead (--images exact) or choose a size (--image-size)"
            )
        settings = self._settings
        # The AV1 encoder prints its configuration for every file unless told to print errors only.
        os.environ.setdefault("SVT_LOG", "1")
        stream = self._container.add_stream(settings.encoder, rate=self._rate, options=settings.options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.time_base = 1 / self._rate
        return stream


def yuv420(image: RGBImage) -> npt.NDArray[np.uint8]:
    """Turn an image into what video encoders take: BT.601 of limited range, a colour for four pixels each.

    Within two levels of what FFmpeg's scaler makes when it averages, in less than half the time.

    :param image: (H, W, 3) uint8 RGB with even sides.
    :returns: (H * 3 / 2, W) uint8: brightness, then the blue and then the red differences.
    """
    height, width = image.shape[:2]
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    # OpenCV takes the colour of one pixel of the four; theirs together is wanted.
    quarter = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    colours = cv2.LUT(cv2.cvtColor(quarter, cv2.COLOR_RGB2YCrCb), _LIMITED)
    blue_and_red = planes[height:].reshape(2, height // 2, width // 2)
    cv2.mixChannels([colours], list(blue_and_red), (2, 0, 1, 1))
    return np.asarray(planes, dtype=np.uint8)


def as_fraction(rate: float) -> Fraction:
    """Return a rate as the fraction that video files hold."""
    return Fraction(rate).limit_denominator(1000)


def join(parts: Sequence[Path], target: Path) -> None:
    """Put videos of equal settings one after the other, without encoding them again."""
    with av.open(str(target), "w", format="mp4") as out:
        stream: av.VideoStream | None = None
        begins = 0
        for part in parts:
            with av.open(str(part)) as source:
                first = source.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(first, opaque=True)
                following = begins
                for packet in source.demux(first):
                    if packet.dts is None or packet.pts is None:
                        continue
                    following = max(following, begins + packet.pts + (packet.duration or 1))
                    packet.pts += begins
                    packet.dts += begins
                    packet.stream = stream
                    out.mux(packet)
                begins = following


def read_video(path: Path, start: int = 0, count: int | None = None, rate: float = 0.0) -> Iterator[RGBImage]:
    """Decode frames in order.

    :param start: Number of the first frame wanted; seeks to the keyframe before it.
    :param count: How many; None reads to the end.
    :param rate: Frames per second, needed to seek; 0 takes the file's.
    :raises DatasetError: If the file is damaged or ends early.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            pace = as_fraction(rate) if rate else stream.average_rate
            base = stream.time_base
            if pace is None or base is None:
                raise DatasetError(f"{path}: the file does not tell its frame rate")
            if start:
                container.seek(int(start / pace / base), stream=stream, backward=True)
            given = 0
            for frame in container.decode(stream):
                number = round((frame.pts or 0) * base * pace)
                if number < start:
                    continue
                if count is not None and given >= count:
                    return
                given += 1
                yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
            if count is not None and given < count:
                raise DatasetError(f"{path}: ends after frame {start + given}, not {start + count}")
    except (av.FFmpegError, IndexError) as error:
        raise DatasetError(f"{path}: cannot be decoded: {error}") from error
