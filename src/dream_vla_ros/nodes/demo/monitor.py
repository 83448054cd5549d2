"""Listen to the whole graph during the demo and note what happens."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool

from dream_vla_msgs.msg import ActionChunk, ControllerState, EndEffectorDelta
from dream_vla_ros.chunk import InvalidChunkError
from dream_vla_ros.embodiment import Embodiment, ImageTransport
from dream_vla_ros.images import ImageError, decode
from dream_vla_ros.nodes.client.messages import pose_from_message
from dream_vla_ros.nodes.conversions import (
    NANOSECONDS,
    chunk_from_msg,
    duration_from_msg,
    pose_from_msg,
    time_from_msg,
    uuid_from_msg,
    vector_from_msg,
)
from dream_vla_ros.nodes.spinning_node import SpinningNode
from dream_vla_ros.report.frame_spool import FrameSpool
from dream_vla_ros.report.projection import PinholeCamera
from dream_vla_ros.report.recording import CameraTrack, ChunkSeen, Command, ControllerSeen, Recording

_MODES = {
    ControllerState.IDLE: "idle",
    ControllerState.EXECUTING: "executing",
    ControllerState.HOLDING: "holding",
    ControllerState.STOPPED: "stopped",
    ControllerState.NO_STATE: "no state",
}


@dataclass
class Sent:
    """When things were sent by their nodes; on the middleware's clock [s], so that own delays do not count.

    :param images: Per camera.
    :param commands: ``end_effector_delta``.
    """

    images: dict[str, list[float]] = field(default_factory=dict)
    commands: list[float] = field(default_factory=list)


class DemoMonitor:
    """Subscribe to everything that the demo reports; use it as a context manager.

    :param embodiment: Says which topics there are.
    :param recording: Is filled; its cameras get their frames and intrinsics, not their poses.
    :param folder: Where images are kept meanwhile.
    """

    def __init__(self, embodiment: Embodiment, recording: Recording, folder: Path) -> None:
        self.sent = Sent()
        self.success: bool | None = None
        self._recording = recording
        self._controller: dict[bytes, ControllerState] = {}
        self._last_controller: ControllerState | None = None
        self._lock = threading.Lock()
        self._spinning = SpinningNode("demo_monitor")
        node = self._spinning.node
        for camera in embodiment.cameras:
            track = CameraTrack(FrameSpool(folder))
            recording.cameras[camera.name] = track
            self.sent.images[camera.name] = []
            compressed = camera.transport is ImageTransport.COMPRESSED
            node.create_subscription(
                CompressedImage if compressed else Image,
                camera.topic,
                self._image_callback(camera.name, camera.topic, track),
                qos_profile_sensor_data,
            )
            if camera.info_topic:
                node.create_subscription(
                    CameraInfo, camera.info_topic, self._info_callback(track), qos_profile_sensor_data
                )
        node.create_subscription(
            PoseStamped, embodiment.state.pose_topic, self._on_pose, qos_profile_sensor_data
        )
        # rclpy passes the message's information to a callback that takes two; its annotations know of one.
        on_command: Any = self._on_command
        node.create_subscription(EndEffectorDelta, "end_effector_delta", on_command, 50)
        node.create_subscription(ControllerState, "controller_state", self._on_controller, 50)
        node.create_subscription(ActionChunk, "action_chunk", self._on_chunk, 10)
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        node.create_subscription(Bool, "sim/success", self._on_success, latched)
        self._spinning.start()

    def __enter__(self) -> DemoMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spinning.close()

    @property
    def spinning(self) -> SpinningNode:
        """The node, for service clients beside the subscriptions."""
        return self._spinning

    def now_s(self) -> float:
        """Return the time on the recording's clock, ROS time."""
        return self._spinning.node.get_clock().now().nanoseconds / NANOSECONDS

    def missing(self) -> list[str]:
        """Name what has not been heard yet of simulation and controller."""
        silent = [f"camera {name}" for name, times in self.sent.images.items() if not times]
        if not len(self._recording.measured):
            silent.append("end-effector pose")
        if self._last_controller is None:
            silent.append("controller state")
        elif self._last_controller.mode == ControllerState.NO_STATE:
            silent.append(f"controller with a measured state ({self._last_controller.message})")
        return silent

    def controller_of(self, goal_id: bytes) -> ControllerState | None:
        """Return the controller's last word on a goal.

        :param goal_id: 16 bytes.
        """
        with self._lock:
            return self._controller.get(goal_id)

    def _image_callback(self, name: str, topic: str, track: CameraTrack) -> Any:
        def on_image(message: Any, info: dict[str, int]) -> None:
            self.sent.images[name].append(info["source_timestamp"] / NANOSECONDS)
            try:
                image = decode(message, topic)
            except ImageError as error:
                self._spinning.node.get_logger().error(str(error), throttle_duration_sec=5.0)
                return
            track.add(time_from_msg(message.header.stamp) / NANOSECONDS, image)

        return on_image

    def _info_callback(self, track: CameraTrack) -> Any:
        def on_info(message: CameraInfo) -> None:
            if track.optics is None:
                matrix = np.asarray(message.k, dtype=np.float64).reshape(3, 3)
                track.optics = PinholeCamera(matrix, message.width, message.height)

        return on_info

    def _on_pose(self, message: PoseStamped) -> None:
        pose = pose_from_message(message)
        if pose is not None:
            self._recording.measured.add(time_from_msg(message.header.stamp) / NANOSECONDS, pose)

    def _on_command(self, message: EndEffectorDelta, info: dict[str, int]) -> None:
        self.sent.commands.append(info["source_timestamp"] / NANOSECONDS)
        period_s = duration_from_msg(message.duration)
        if period_s <= 0.0:
            return
        command = Command(
            np.array(vector_from_msg(message.translation)) / period_s,
            np.array(vector_from_msg(message.rotation)) / period_s,
            message.gripper,
        )
        self._recording.commands.add(time_from_msg(message.header.stamp) / NANOSECONDS, command)

    def _on_controller(self, message: ControllerState) -> None:
        time_s = time_from_msg(message.header.stamp) / NANOSECONDS
        mode = _MODES.get(message.mode, str(message.mode))
        self._recording.controller.add(time_s, ControllerSeen(mode, message.chunk_id, message.step))
        if message.mode != ControllerState.NO_STATE:
            with contextlib.suppress(ValueError):  # no target yet
                self._recording.target.add(time_s, pose_from_msg(message.target))
        with self._lock:
            self._last_controller = message
            self._controller[uuid_from_msg(message.goal_id)] = message

    def _on_chunk(self, message: ActionChunk) -> None:
        try:
            chunk = chunk_from_msg(message)
        except InvalidChunkError:
            return
        latency_s = duration_from_msg(message.latency)
        sent_s = chunk.stamp_ns / NANOSECONDS + latency_s
        self._recording.chunks.add(sent_s, ChunkSeen(chunk, latency_s))

    def _on_success(self, message: Bool) -> None:
        self.success = message.data
