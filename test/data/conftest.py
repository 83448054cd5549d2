"""Bags to test with: recordings of a small arm, written by `rosbags` or by this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from dream_vla_ros.data.bag_writer import BagWriter, WriterLimits
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.data.storage import StoredTopic
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector

START_NS = 1_700_000_000 * 10**9
MESSAGES = Path(__file__).parents[2] / "src" / "dream_vla_msgs" / "msg"


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


@pytest.fixture(scope="session")
def tabletop() -> Embodiment:
    return Embodiment.from_file(Path(__file__).parents[2] / "config" / "tabletop.yaml")


@pytest.fixture(scope="session")
def scene() -> Scene:
    return Scene()


@pytest.fixture(scope="session")
def recorded(scene: Scene) -> list[Recorded]:
    return scene.messages()


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    return Scene


@pytest.fixture(scope="session")
def rosbags_writer() -> Callable[..., Path]:
    return write_with_rosbags


@pytest.fixture(scope="session")
def healthy_mcap(tmp_path_factory: pytest.TempPathFactory, recorded: list[Recorded]) -> Path:
    return write_with_rosbags(tmp_path_factory.mktemp("healthy") / "mcap", recorded)


@pytest.fixture(scope="session")
def healthy_sqlite(tmp_path_factory: pytest.TempPathFactory, recorded: list[Recorded]) -> Path:
    path = tmp_path_factory.mktemp("healthy") / "sqlite"
    return write_with_rosbags(path, recorded, storage=StoragePlugin.SQLITE3)


@pytest.fixture(scope="session")
def own_writer() -> Callable[..., Path]:
    return write_with_this_package


@pytest.fixture(scope="session")
def healthy_own(tmp_path_factory: pytest.TempPathFactory, recorded: list[Recorded]) -> Path:
    return write_with_this_package(tmp_path_factory.mktemp("healthy") / "own", recorded)


def at(scene: Scene, topic: str, kind: str, t: float, message: Any) -> Recorded:
    return Recorded(f"{scene.prefix}/{topic}", kind, scene.start_ns + round(t * 1e9) + 1_000_000, message)


def vector(values: Any) -> Any:
    return STORE.types["geometry_msgs/msg/Vector3"](*(float(value) for value in values))


def duration(seconds: float) -> Any:
    whole = int(seconds)
    return STORE.types["builtin_interfaces/msg/Duration"](whole, round((seconds - whole) * 1e9))


@pytest.fixture(scope="session")
def make_delta() -> Callable[..., list[Recorded]]:
    """Return a maker of the motion commands that lead along a scene."""

    def make(scene: Scene, rate_hz: float) -> list[Recorded]:
        kind = "dream_vla_msgs/msg/EndEffectorDelta"
        out = []
        for tick in range(round(scene.duration_s * rate_hz)):
            t = tick / rate_hz
            translation, rotation = scene.pose(t).motion_to(scene.pose(t + 1.0 / rate_hz))
            message = STORE.types[kind](
                header(scene.start_ns + round(t * 1e9)),
                "ee_link",
                vector(translation),
                vector(rotation),
                scene.command(t),
                duration(1.0 / rate_hz),
            )
            out.append(at(scene, "end_effector_delta", kind, t, message))
        return out

    return make


@pytest.fixture(scope="session")
def make_goals() -> Callable[..., list[Recorded]]:
    """Return a maker of the heartbeat that names the goal being carried out."""

    def make(scene: Scene, goals: list[tuple[float, float, str]]) -> list[Recorded]:
        kind = "dream_vla_msgs/msg/ActiveGoal"
        out = []
        for tick in range(round(scene.duration_s * 10)):
            t = tick / 10
            running = [(index, text) for index, (a, b, text) in enumerate(goals) if a <= t < b]
            index, text = running[0] if running else (-1, "")
            uuid = STORE.types["unique_identifier_msgs/msg/UUID"](np.full(16, index + 1, dtype=np.uint8))
            stamped = header(scene.start_ns + round(t * 1e9))
            message = STORE.types[kind](stamped, bool(running), uuid, text)
            out.append(at(scene, "active_goal", kind, t, message))
        return out

    return make


URDF = """<robot name="arm">
<link name="base_link"/><link name="upper"/><link name="slide"/><link name="ee_link"/>
<joint name="turn" type="revolute"><parent link="base_link"/><child link="upper"/>
  <origin xyz="0 0 0.3"/><axis xyz="0 0 1"/></joint>
<joint name="push" type="prismatic"><parent link="upper"/><child link="slide"/>
  <origin xyz="0.1 0 0"/><axis xyz="1 0 0"/></joint>
<joint name="tool" type="fixed"><parent link="slide"/><child link="ee_link"/>
  <origin xyz="0.05 0 -0.1" rpy="3.14159265 0 0"/></joint>
</robot>"""


@pytest.fixture(scope="session")
def make_joint_robot(scene: Scene) -> tuple[list[Recorded], str, Callable[[int], Pose]]:
    """Return a robot that tells its joints and transforms, its description, and where it truly is."""

    def joints(t: float) -> tuple[float, float]:
        return 0.3 * t, 0.02 * t

    def pose_of(time_ns: int) -> Pose:
        turn, push = joints((time_ns - scene.start_ns) * 1e-9)
        upper = Pose(np.array([0.0, 0.0, 0.3]), quaternion_from_rotation_vector([0.0, 0.0, turn]))
        slide = Pose(np.array([0.1 + push, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))
        tool = Pose(np.array([0.05, 0.0, -0.1]), np.array([1.0, 0.0, 0.0, 0.0]))
        return upper.compose(slide).compose(tool)

    def transform(ns: int, parent: str, child: str, position: Any, quaternion: Any) -> Any:
        x, y, z, w = (float(v) for v in quaternion)
        rotation = STORE.types["geometry_msgs/msg/Quaternion"](x, y, z, w)
        inner = STORE.types["geometry_msgs/msg/Transform"](vector(position), rotation)
        return STORE.types["geometry_msgs/msg/TransformStamped"](header(ns, parent), child, inner)

    types, out = STORE.types, []
    still = [0.0, 0.0, 0.0, 1.0]
    for sample in range(round(scene.duration_s * 50)):
        t = sample / 50
        ns = scene.start_ns + round(t * 1e9)
        turn, push = joints(t)
        arm = types["sensor_msgs/msg/JointState"](
            header(ns), ["turn", "push"], np.array([turn, push]), np.zeros(0), np.zeros(0)
        )
        hand = types["sensor_msgs/msg/JointState"](
            header(ns + 7), ["left_finger", "right_finger"], np.full(2, 0.037), np.zeros(0), np.zeros(0)
        )
        out += [at(scene, "joint_states", "sensor_msgs/msg/JointState", t, one) for one in (arm, hand)]
        turned = quaternion_from_rotation_vector([0.0, 0.0, turn])
        moving = [
            transform(ns, "base_link", "upper", [0.0, 0.0, 0.3], turned),
            transform(ns, "upper", "slide", [0.1 + push, 0.0, 0.0], still),
        ]
        message = types["tf2_msgs/msg/TFMessage"](moving)
        out.append(Recorded("/tf", "tf2_msgs/msg/TFMessage", ns + 1_000_000, message))
    fixed = transform(scene.start_ns, "slide", "ee_link", [0.05, 0.0, -0.1], [1.0, 0.0, 0.0, 0.0])
    message = types["tf2_msgs/msg/TFMessage"]([fixed])
    out.append(Recorded("/tf_static", "tf2_msgs/msg/TFMessage", scene.start_ns, message))
    text = types["std_msgs/msg/String"](URDF)
    out.append(at(scene, "robot_description", "std_msgs/msg/String", 0.0, text))
    return out, URDF, pose_of


@pytest.fixture(scope="session")
def backdate() -> Callable[[Recorded, float], Recorded]:
    """Return what makes a message's stamp wrong without touching its arrival."""

    def make(one: Recorded, seconds: float) -> Recorded:
        old = one.message.header.stamp
        wrong = header(old.sec * 10**9 + old.nanosec - round(seconds * 1e9))
        return replace(one, message=replace(one.message, header=wrong))

    return make


@pytest.fixture(scope="session")
def spoil_images() -> Callable[..., list[Recorded]]:
    """Return what cuts some of a camera's compressed images short."""

    def make(messages: list[Recorded], camera: str, which: range) -> list[Recorded]:
        out, seen = [], 0
        for one in messages:
            if camera in one.topic:
                if seen in which:
                    short = replace(one.message, data=one.message.data[:100])
                    one = replace(one, message=short)
                seen += 1
            out.append(one)
        return out

    return make


@pytest.fixture(scope="session")
def robot_file() -> Path:
    return Path(__file__).parents[2] / "config" / "tabletop.yaml"


@pytest.fixture(scope="session")
def wobble() -> Callable[..., list[Recorded]]:
    """Return a maker of recordings in which the arm moves in fits and starts.

    ``delay_s``: images are stamped that long after they were taken.
    """

    def make(delay_s: float) -> list[Recorded]:
        random = np.random.default_rng(5)
        speeds = np.abs(np.convolve(random.normal(size=140), np.ones(9) / 9, mode="valid"))
        path = np.concatenate([[0.0], np.cumsum(speeds)]) / 20.0
        grid = np.arange(len(path)) / 20.0

        class Wobbling(Scene):
            def pose(self, t: float) -> Pose:
                return Pose(np.array([0.2 + np.interp(t, grid, path), 0.0, 0.1]), np.array([0.0, 1, 0, 0]))

            def image(self, camera: str, t: float) -> np.ndarray:
                shift = 4000.0 * np.interp(t - delay_s, grid, path)
                columns = np.mgrid[0:48, 0:64][1]
                level = 128 + 100 * np.sin((10.0 * columns + shift) / 60.0)
                return np.stack([level] * 3, axis=-1).astype(np.uint8)

        return Wobbling(duration_s=6.0, size=(48, 64), camera_hz=15.0).messages()

    return make
