"""A run as an H.264 video that browsers play."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dream_vla_ros.images import RGBImage
from dream_vla_ros.report.frame import HEIGHT, WIDTH, draw_frame
from dream_vla_ros.report.recording import GoalSpan, Recording

FPS = 15
LEAD_S = 0.6  # enough to read the goal before anything moves
TAIL_S = 1.4  # enough to read how it ended


class VideoWriter:
    """Write frames into an MP4 file; use it as a context manager.

    :param path: File to write; one that exists is replaced.
    :param width: In pixels; even.
    :param height: In pixels; even.
    :param fps: Frames per second.
    :raises ValueError: If a side is odd, which the pixel format that browsers play cannot hold.
    """

    def __init__(self, path: Path, width: int, height: int, fps: int = FPS) -> None:
        if width % 2 or height % 2:
            raise ValueError(f"video size {width} x {height} must be even")
        self._shape = (height, width, 3)
        # The index in front lets a browser start to play before it has the whole file.
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        stream = self._container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "21"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        self._stream = stream
        self._fps = fps
        self._count = 0

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()

    def add(self, image: RGBImage) -> None:
        """Append a frame.

        :param image: (height, width, 3) uint8 RGB.
        :raises ValueError: If it has another shape.
        """
        if image.shape != self._shape:
            raise ValueError(f"frame has shape {image.shape}, the video {self._shape}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = self._count
        frame.time_base = Fraction(1, self._fps)
        self._count += 1
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


def frame_times(goals: list[GoalSpan], fps: int = FPS) -> Iterator[tuple[GoalSpan, float]]:
    """List the times to show: each goal with a moment before and after, what lies between left out."""
    for goal in goals:
        count = int((goal.ended_s + TAIL_S - goal.began_s + LEAD_S) * fps)
        for index in range(count):
            yield goal, goal.began_s - LEAD_S + index / fps


def write_video(
    recording: Recording, path: Path, *, fps: int = FPS, on_progress: Callable[[float], None] | None = None
) -> int:
    """Draw a whole run.

    :param path: MP4 file to write.
    :param on_progress: Called with the share done, 0 to 1.
    :returns: How many frames were written.
    :raises ValueError: If the recording has no goals or no cameras.
    """
    times = list(frame_times(recording.goals, fps))
    if not times or not recording.cameras:
        raise ValueError("nothing to show: the recording has no goals or no cameras")
    with VideoWriter(path, WIDTH, HEIGHT, fps) as video:
        for index, (goal, time_s) in enumerate(times):
            video.add(draw_frame(recording, goal, time_s))
            if on_progress is not None:
                on_progress((index + 1) / len(times))
    return len(times)
