"""Bags to test with: recordings of a small arm, written by `rosbags` or by this package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

# Helpers are imported by name (from bag_scene import Scene); tests themselves are not importable.
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from bag_scene import STORE, Recorded, Scene, header, write_with_rosbags, write_with_this_package

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector


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
