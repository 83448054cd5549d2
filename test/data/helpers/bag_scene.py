"""A small arm that moves before two cameras, as messages and as bags by `rosbags` or by this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from dream_vla_ros.data.bag_writer import BagWriter, WriterLimits
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.data.storage import StoredTopic
from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector

START_NS = 1_700_000_000 * 10**9
MESSAGES = Path(__file__).parents[3] / "src" / "dream_vla_msgs" / "msg"


def make_store() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("EndEffectorDelta", "ActiveGoal"):
        text = (MESSAGES / f"{name}.msg").read_text()
        store.register(get_types_from_msg(text, f"dream_vla_msgs/msg/{name}"))
    return store


STORE = make_store()


def stamp(ns: int) -> Any:
    return STORE.types["builtin_interfaces/msg/Time"](sec=int(ns // 10**9), nanosec=int(ns % 10**9))


def header(ns: int, frame: str = "base_link") -> Any:
    return STORE.types["std_msgs/msg/Header"](stamp=stamp(ns), frame_id=frame)


@dataclass(frozen=True)
class Recorded:
    """One message with when it was received."""

    topic: str
    type: str
    log_ns: int
    message: Any

    @property
    def data(self) -> bytes:
        return bytes(STORE.serialize_cdr(self.message, self.type))


@dataclass
class Scene:
    """What happens in a recording: a smooth motion with a grasp, seen by two cameras.

    :param latency_ns: From capture to reception, by topic suffix.
    """

    duration_s: float = 4.0
    camera_hz: float = 15.0
    state_hz: float = 50.0
    size: tuple[int, int] = (24, 32)
    compressed: str = ""
    start_ns: int = START_NS
    idle_s: float = 0.0
    close_at_s: float = 2.0
    latency_ns: dict[str, int] = field(default_factory=dict)
    prefix: str = ""

    def pose(self, t: float) -> Pose:
        moving = min(max(t - self.idle_s, 0.0), self.duration_s - 2 * self.idle_s)
        position = [0.2 + 0.03 * moving, 0.05 * np.sin(moving), 0.2 - 0.01 * moving]
        down = np.array([0.0, 1.0, 0.0, 0.0])
        turn = quaternion_from_rotation_vector([0.05 * moving, 0.0, 0.1 * np.sin(moving)])
        from dream_vla_ros.geometry import quaternion_multiply

        return Pose(np.array(position), quaternion_multiply(turn, down))

    def opening(self, t: float) -> float:
        return float(np.clip(1.0 - (t - self.close_at_s) / 0.3, 0.2, 1.0))

    def command(self, t: float) -> float:
        return 1.0 if t < self.close_at_s else 0.0

    def image(self, camera: str, t: float) -> np.ndarray:
        height, width = self.size
        rows, columns = np.mgrid[0:height, 0:width]
        shift = 40.0 * self.pose(t).position[0] * 10
        base = 0 if camera == "wrist" else 60
        red = (base + 4 * columns + shift) % 200
        return np.stack([red, 5.0 * rows + base, np.full_like(red, 10.0 * t)], axis=-1).astype(np.uint8)

    def messages(self) -> list[Recorded]:
        out: list[Recorded] = []

        def add(topic: str, kind: str, t: float, message: Any) -> None:
            captured = self.start_ns + round(t * 1e9)
            late = self.latency_ns.get(topic, 2_000_000)
            out.append(Recorded(f"{self.prefix}/{topic}", kind, captured + late, message))

        types = STORE.types
        for camera in ("third_person", "wrist"):
            for frame in range(round(self.duration_s * self.camera_hz)):
                t = frame / self.camera_hz
                ns = self.start_ns + round(t * 1e9)
                pixels = self.image(camera, t)
                if self.compressed:
                    data = cv2.imencode(f".{self.compressed}", pixels[..., ::-1])[1]
                    message = types["sensor_msgs/msg/CompressedImage"](header(ns), self.compressed, data)
                    kind = "sensor_msgs/msg/CompressedImage"
                    add(f"{camera}/image_raw/compressed", kind, t, message)
                else:
                    height, width = self.size
                    message = types["sensor_msgs/msg/Image"](
                        header(ns), height, width, "rgb8", 0, 3 * width, pixels.reshape(-1)
                    )
                    add(f"{camera}/image_raw", "sensor_msgs/msg/Image", t, message)
        for sample in range(round(self.duration_s * self.state_hz)):
            t = sample / self.state_hz
            ns = self.start_ns + round(t * 1e9)
            add("ee_pose", "geometry_msgs/msg/PoseStamped", t, self.pose_stamped(ns, self.pose(t)))
            target = self.pose_stamped(ns, self.pose(t + 0.05))
            add("target_pose", "geometry_msgs/msg/PoseStamped", t, target)
            fingers = 0.037 * self.opening(t) * np.ones(2)
            joints = types["sensor_msgs/msg/JointState"](
                header(ns), ["left_finger", "right_finger"], fingers, np.zeros(0), np.zeros(0)
            )
            add("joint_states", "sensor_msgs/msg/JointState", t, joints)
            layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
            command = types["std_msgs/msg/Float64MultiArray"](layout, np.array([self.command(t)]))
            add("gripper_command", "std_msgs/msg/Float64MultiArray", t, command)
        return sorted(out, key=lambda one: one.log_ns)

    def pose_stamped(self, ns: int, pose: Pose) -> Any:
        types = STORE.types
        x, y, z = (float(v) for v in pose.position)
        point = types["geometry_msgs/msg/Point"](x, y, z)
        quaternion = types["geometry_msgs/msg/Quaternion"](*(float(v) for v in pose.quaternion))
        body = types["geometry_msgs/msg/Pose"](point, quaternion)
        return types["geometry_msgs/msg/PoseStamped"](header(ns), body)


def write_with_rosbags(
    path: Path,
    messages: list[Recorded],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    custom: dict[str, str] | None = None,
) -> Path:
    """Write a bag by means this project has no part in."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    for key, value in (custom or {}).items():
        writer.set_custom_data(key, value)
    with writer:
        connections = {}
        for one in messages:
            if one.topic not in connections:
                connections[one.topic] = writer.add_connection(one.topic, one.type, typestore=STORE)
            writer.write(connections[one.topic], one.log_ns, one.data)
    return path


def write_with_this_package(
    path: Path, messages: list[Recorded], metadata: EpisodeMetadata | None = None, **options: Any
) -> Path:
    """Write an episode in many small chunks."""
    limits = WriterLimits(flush_bytes=20_000, min_free_bytes=0)
    with BagWriter(path, metadata or EpisodeMetadata(task="stack"), limits=limits, **options) as writer:
        for one in messages:
            definition = STORE.generate_msgdef(one.type, ros_version=2)[0]
            writer.add_topic(StoredTopic(one.topic, one.type, definition=definition))
            assert writer.write(one.topic, one.data, one.log_ns, wait=True)
        writer.close(success=metadata.success if metadata else True)
    return path
