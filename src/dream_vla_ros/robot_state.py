"""The measured state of the arm as controller and policy see it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dream_vla_ros.embodiment import State
from dream_vla_ros.geometry import Pose


@dataclass(frozen=True, eq=False)
class RobotState:
    """Newest measurement of the arm.

    :param stamp_ns: When the pose was measured, ROS time.
    :param received_ns: When it arrived here, steady clock.
    :param pose: End effector in the base frame.
    :param joints: Joint names to positions, rad or m; empty where no joint states are received.
    :param joints_stamp_ns: Stamp of the newest joint states, ROS time; None where none were received.
    :param gripper: Opening, 1 = open, 0 = closed; None where the finger joints are unknown.
    """

    stamp_ns: int
    received_ns: int
    pose: Pose
    joints: Mapping[str, float]
    joints_stamp_ns: int | None = None
    gripper: float | None = None

    def age_s(self, ros_ns: int, steady_ns: int) -> float:
        """Return how old the pose is: by its stamp or by the silence since it came, whichever is more.

        :param ros_ns: Now on the ROS clock.
        :param steady_ns: Now on the steady clock.
        """
        return max(ros_ns - self.stamp_ns, steady_ns - self.received_ns) * 1e-9


def gripper_opening(joints: Mapping[str, float], state: State) -> float | None:
    """Return how far the gripper is open, from its finger joints.

    :param joints: Joint names to positions.
    :param state: Names the finger joints and their positions when open and closed.
    :returns: 1 = open, 0 = closed, mean of the fingers; None if none is configured or one is missing.
    """
    openings = []
    for name, closed, opened in zip(state.finger_joints, state.finger_closed, state.finger_open, strict=True):
        position = joints.get(name)
        if position is None or not math.isfinite(position):
            return None
        openings.append(min(1.0, max(0.0, (position - closed) / (opened - closed))))
    return sum(openings) / len(openings) if openings else None
