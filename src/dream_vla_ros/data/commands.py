"""What the arm was told over a whole recording: by a policy or by a human."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dream_vla_ros.data.arm_state import POSE_TYPES, read_poses
from dream_vla_ros.data.errors import BagError
from dream_vla_ros.data.recording import Recording
from dream_vla_ros.geometry import Pose
from dream_vla_ros.series import Poses, Values

DELTA_TOPIC = "end_effector_delta"
_DELTA_TYPES = ("dream_vla_msgs/msg/EndEffectorDelta",)
# Commands are for a controller's tick; one that claims to last longer than this is damaged.
_LONGEST_NS = 10 * 10**9
_GRIPPER_TYPES = ("std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float64", "std_msgs/msg/Float32")


@dataclass(frozen=True, eq=False)
class Commands:
    """What the arm was told.

    :param targets: Commanded poses; None where none were recorded. With ``relative`` only differences count.
    :param gripper: Commanded opening (samples, 1), 1 = open, 0 = closed; None where none was recorded.
    :param source: Topics they come from, for the report.
    """

    targets: Poses | None
    gripper: Values | None
    source: str


def read_commands(recording: Recording, *, motion: bool) -> Commands:
    """Read commanded motion and gripper.

    :param motion: Whether commanded motion is needed; the gripper always is, where it was recorded.
    :raises BagError: If motion is needed and was not recorded.
    """
    output = recording.embodiment.output
    deltas = recording.maybe(DELTA_TOPIC, _DELTA_TYPES, "commanded motion")
    targets, gripper, sources = None, None, []
    if topic := recording.maybe(output.gripper_topic, _GRIPPER_TYPES, "the gripper command"):
        times, values = recording.arrived(topic, _first_number)
        if len(times):
            gripper = Values(times, np.clip(values, 0.0, 1.0)[:, None])
            sources.append(topic)
    if deltas and (motion or gripper is None):
        path, openings = _integrate(recording, deltas)
        sources.append(deltas)
        targets = path if motion else None
        gripper = gripper or openings
    elif motion:
        topic = recording.maybe(output.target_pose_topic, POSE_TYPES, "commanded poses")
        if topic is None:
            raise BagError(
                f"{recording.bag.path}: commanded actions were asked for, but neither '{DELTA_TOPIC}' nor "
                f"'{output.target_pose_topic}' was recorded; record one of them or convert with "
                f"--actions reached. The bag has\n{recording.bag.listing()}"
            )
        targets = read_poses(recording, topic)
        sources.append(topic)
    return Commands(targets, gripper, ", ".join(sources))


def _integrate(recording: Recording, topic: str) -> tuple[Poses, Values]:
    """Add motion commands up to a path; where it begins does not matter, only its differences do."""
    stamps: list[int] = []
    poses: list[Pose] = []
    openings: list[float] = []
    pose, bad = Pose.identity(), 0
    for stamp, message in recording.stamped(topic):
        took_ns = max(1, message.duration.sec * 10**9 + message.duration.nanosec)
        motion = [*_xyz(message.translation), *_xyz(message.rotation)]
        if not np.all(np.isfinite([*motion, message.gripper])) or took_ns > _LONGEST_NS:
            bad += 1
            continue
        if stamps and stamp < stamps[-1]:
            took_ns = max(1, stamp + took_ns - stamps[-1])
            stamp = stamps[-1]
        if not stamps or stamp > stamps[-1]:
            stamps.append(stamp)
            poses.append(pose)
            openings.append(float(message.gripper))
        pose = pose.moved(motion[:3], motion[3:])
        stamps.append(stamp + took_ns)
        poses.append(pose)
        openings.append(float(message.gripper))
    if bad:
        recording.notes.append(
            f"{topic}: {bad} commands left out that are not finite or last longer than "
            f"{_LONGEST_NS * 1e-9:g} s"
        )
    if not stamps:
        raise BagError(f"{recording.bag.path}: {topic} holds no usable command")
    times = np.array(stamps, dtype=np.int64)
    path = Poses(
        times, np.array([one.position for one in poses]), np.array([one.quaternion for one in poses])
    )
    return path, Values(times, np.clip(openings, 0.0, 1.0)[:, None])


def _first_number(message: Any) -> float | None:
    data = message.data
    if np.ndim(data) == 0:
        return float(data)
    return float(data[0]) if len(data) else None


def _xyz(vector: Any) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z
