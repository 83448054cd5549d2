"""A try as a small video: what the cameras saw, what was asked for, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dream_vla_ros.images import RGBImage
from dream_vla_ros.report.canvas import Canvas, Colour, fit, shorten
from dream_vla_ros.report.video import VideoWriter
from dream_vla_ros.training.closed_loop import FILM_PERIOD_S
from dream_vla_ros.training.environment import Moment

_SIDE, _BAR, _TEXT = 384, 44, 18
_GROUND: Colour = (24, 26, 30)
_INK: Colour = (235, 235, 235)
_GOOD: Colour = (120, 220, 130)
_BAD: Colour = (240, 130, 110)
# Long enough to read how it ended.
_LAST_FRAMES = round(1.5 / FILM_PERIOD_S)


class Film:
    """Writes one try; use it as a context manager.

    :param path: MP4 file to write.
    :param words: What the policy is told.
    """

    def __init__(self, path: Path, words: str) -> None:
        self._path = path
        self._words = words
        self._writer: VideoWriter | None = None
        self._last: tuple[Mapping[str, RGBImage], float] | None = None

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)

    def add(self, images: Mapping[str, RGBImage], now: Moment) -> None:
        """Add a frame."""
        # Copies: an environment may draw the next images into the same memory.
        self._last = ({name: image.copy() for name, image in images.items()}, now.time_s)
        self._write(f"{now.time_s:4.1f} s", _INK)

    def conclude(self, end: str, success: bool) -> None:
        """Show how it ended.

        :param end: Why it did, in words.
        """
        for _ in range(_LAST_FRAMES):
            self._write(end if success else f"{end}, not done", _GOOD if success else _BAD)

    def _write(self, right: str, colour: Colour) -> None:
        if self._last is None:
            return
        images, _ = self._last
        width = _SIDE * len(images)
        if self._writer is None:
            self._writer = VideoWriter(self._path, width, _SIDE + _BAR, round(1.0 / FILM_PERIOD_S))
        canvas = Canvas(width, _SIDE + _BAR, _GROUND)
        for at, image in enumerate(images.values()):
            canvas.paste(fit(image, _SIDE, _SIDE), at * _SIDE, 0)
        middle = _SIDE + _BAR / 2
        taken = canvas.text(right, width - 12, middle, _TEXT, colour, align="right")
        canvas.text(shorten(self._words, _TEXT, width - taken - 36), 12, middle, _TEXT, _INK)
        self._writer.add(canvas.pixels)
