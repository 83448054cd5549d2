"""Images kept on disk, so that a run of minutes does not fill the memory."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np

from dream_vla_ros.images import RGBImage


class FrameSpool:
    """Append images and read them back by number; the file goes with the object.

    :param folder: Where the file lies; the system's temporary folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the spool
        self._frames: list[tuple[int, tuple[int, int, int]]] = []
        self._end = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, image: RGBImage) -> int:
        """Append an image and return its number.

        :param image: (H, W, 3) uint8.
        :raises ValueError: If it has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image has shape {image.shape} and type {image.dtype}, not (H, W, 3) uint8")
        with self._lock:
            self._file.seek(self._end)
            self._file.write(np.ascontiguousarray(image).data)
            height, width, channels = image.shape
            self._frames.append((self._end, (height, width, channels)))
            self._end += image.size
            return len(self._frames) - 1

    def __getitem__(self, number: int) -> RGBImage:
        begin, shape = self._frames[number]
        with self._lock:
            self._file.seek(begin)
            data = self._file.read(int(np.prod(shape)))
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
