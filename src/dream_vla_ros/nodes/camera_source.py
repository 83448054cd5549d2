"""Newest images of the robot's cameras, from raw or compressed topics."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from dream_vla_ros.embodiment import Camera, Embodiment, ImageTransport
from dream_vla_ros.images import ImageError, RGBImage, decode
from dream_vla_ros.nodes.conversions import time_from_msg
from dream_vla_ros.policy.frames import CameraBuffer, Frame, MissingInputError, newest_set

# Best effort hears every camera driver; two, so that one that is being taken does not push out the next.
_IMAGE_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=2,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
_LOG_PERIOD_S = 2.0


@dataclass(frozen=True)
class CameraStatistics:
    """What came from one camera.

    :param name: Name of the camera.
    :param topic: Full name of its topic.
    :param rate_hz: Images per second lately.
    :param received: Images since the subscription was made.
    :param refused: How many of them could not be used.
    :param last_refusal: Why the last of those was refused; empty where none was.
    """

    name: str
    topic: str
    rate_hz: float
    received: int
    refused: int
    last_refusal: str


class CameraSource:
    """Subscribes to every camera of a robot and hands out sets of images that belong together.

    :param node: Node that subscribes.
    :param embodiment: Names cameras, topics, transports and limits.
    :param callback_group: Group of the subscriptions; the node's default group if None.
    :param on_frame: Called after each usable frame, from the executor.
    """

    def __init__(
        self,
        node: Node,
        embodiment: Embodiment,
        callback_group: CallbackGroup | None = None,
        on_frame: Callable[[], None] | None = None,
    ) -> None:
        self._node = node
        self._on_frame = on_frame or (lambda: None)
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}
        self._buffers: dict[str, CameraBuffer] = {}
        self._subscriptions = []
        for camera in embodiment.cameras:
            subscription = node.create_subscription(
                Image if camera.transport is ImageTransport.RAW else CompressedImage,
                camera.topic,
                self._receiver(camera),
                _IMAGE_QOS,
                callback_group=callback_group,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            self._subscriptions.append(subscription)
            self._buffers[camera.name] = CameraBuffer(
                camera.name, str(subscription.topic_name), embodiment.timing
            )

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def latest(
        self, newer_than_ns: int = 0, until_ns: int | None = None
    ) -> tuple[dict[str, RGBImage], dict[str, int]]:
        """Return the newest images that belong together, and their stamps.

        An image that cannot be decoded is dropped and reported, as if it had never come.

        :param newer_than_ns: Images of this moment (ROS time) or older are not wanted again.
        :param until_ns: The oldest image must not be newer than this; None sets no bound.
        :returns: Camera names to (H, W, 3) uint8 RGB, and to capture times in ROS time.
        :raises MissingInputError: Naming the topic at fault and why.
        """
        ros_ns = self._node.get_clock().now().nanoseconds
        with self._lock:
            frames = newest_set(
                list(self._buffers.values()), ros_ns, time.monotonic_ns(), newer_than_ns, until_ns
            )
        images = {name: self._decode(self._buffers[name], frame) for name, frame in frames.items()}
        return images, {name: frame.stamp_ns for name, frame in frames.items()}

    def statistics(self) -> list[CameraStatistics]:
        """Return what came from each camera."""
        now = time.monotonic_ns()
        with self._lock:
            return [
                CameraStatistics(
                    buffer.name,
                    buffer.topic,
                    buffer.rate_hz(now),
                    buffer.counts.received,
                    buffer.counts.refused,
                    buffer.counts.last_refusal,
                )
                for buffer in self._buffers.values()
            ]

    def _decode(self, buffer: CameraBuffer, frame: Frame) -> RGBImage:
        try:
            return decode(frame.message, buffer.topic)
        except ImageError as error:
            with self._lock:
                buffer.refuse(str(error), frame)
            self._warn(buffer.topic, str(error))
            raise MissingInputError(str(error)) from error

    def _receiver(self, camera: Camera) -> Callable[[Any], None]:
        def receive(message: Any) -> None:
            frame = Frame(time_from_msg(message.header.stamp), time.monotonic_ns(), message)
            buffer = self._buffers[camera.name]
            with self._lock:
                refusal = buffer.add(frame, self._node.get_clock().now().nanoseconds)
            if refusal:
                self._warn(buffer.topic, f"refused: {refusal}")
            else:
                self._on_frame()

        return receive

    def _warn(self, topic: str, text: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(topic, -math.inf) >= _LOG_PERIOD_S:
            self._logged[topic] = now
            self._node.get_logger().warning(text)
