"""Raw images as JPEG or PNG for the recorder, beside everything that must not wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

import cv2
import numpy as np
import simplejpeg
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from dream_vla_ros.data.definitions import Definitions
from dream_vla_ros.data.storage import StoredTopic
from dream_vla_ros.images import decode

IMAGE_TYPE, COMPRESSED_TYPE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
# A second of two cameras at 30 Hz; what does not fit is counted as lost.
_WAITING = 60


class ImageFormat(str, Enum):
    """How images are recorded."""

    AS_PUBLISHED = "as_published"
    JPEG = "jpeg"
    PNG = "png"


class ImageEncoder:
    """Encodes in threads of its own; stamps and frames stay.

    :param quality: Of JPEG, 1 to 100.
    :param keep: Gets topic, serialised message and time of arrival.
    :param lose: Gets the topic of an image that could not be encoded or found no room, and why.
    """

    def __init__(
        self,
        form: ImageFormat,
        quality: int,
        keep: Callable[[StoredTopic, bytes, int], object],
        lose: Callable[[str, str], None],
        threads: int = 2,
    ) -> None:
        self._form = form
        self._quality = quality
        self._keep = keep
        self._lose = lose
        self._definitions = Definitions()
        self._described: dict[str, StoredTopic] = {}
        self._lock = threading.Lock()
        self._queue: queue.Queue[tuple[StoredTopic, bytes, int] | None] = queue.Queue(_WAITING)
        self._threads = [
            threading.Thread(target=self._run, name="image encoder", daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def takes(self, topic: StoredTopic) -> bool:
        """Say whether messages of a topic are to be encoded."""
        return self._form is not ImageFormat.AS_PUBLISHED and topic.type == IMAGE_TYPE

    def name_of(self, topic: StoredTopic) -> str:
        """Return under what name a topic is recorded."""
        return f"{topic.name}/compressed" if self.takes(topic) else topic.name

    def put(self, topic: StoredTopic, data: bytes, received_ns: int) -> None:
        """Encode a serialised image soon."""
        try:
            self._queue.put_nowait((topic, data, received_ns))
        except queue.Full:
            self._lose(self.name_of(topic), "encoding does not keep up")

    def drain(self) -> None:
        """Wait until everything put so far is kept or lost."""
        self._queue.join()

    def close(self) -> None:
        """End the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            topic, data, received_ns = item
            try:
                described, encoded = self._described_as(topic), self._encode(data, topic.name)
                self._keep(described, self._definitions.exact(described.type, encoded), received_ns)
            except Exception as error:  # a thread that ends would leave drain() waiting for ever
                self._lose(self.name_of(topic), str(error) or repr(error))
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def _described_as(self, topic: StoredTopic) -> StoredTopic:
        with self._lock:
            if topic.name not in self._described:
                described = self._definitions.topic(self.name_of(topic), COMPRESSED_TYPE)
                self._described[topic.name] = replace(described, qos=topic.qos)
            return self._described[topic.name]

    def _encode(self, data: bytes, topic: str) -> bytes:
        image = deserialize_message(data, Image)
        pixels = np.ascontiguousarray(decode(image, topic))
        made = CompressedImage(header=image.header)
        if self._form is ImageFormat.JPEG:
            made.format = "rgb8; jpeg compressed bgr8"
            encoded = simplejpeg.encode_jpeg(pixels, quality=self._quality, colorspace="RGB")
        else:
            made.format = "rgb8; png compressed bgr8"
            encoded = cv2.imencode(".png", pixels[:, :, ::-1], (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()
        made.data = np.frombuffer(encoded, np.uint8)
        serialized: bytes = serialize_message(made)
        return serialized
