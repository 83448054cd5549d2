"""The simulated arm: a 6-DoF stand-in with the public link lengths of a WidowX 250.

It exists to be simulated. Masses, servo gains and the gripper are invented, so nothing here may drive
hardware. One table of joints makes both the MuJoCo model and the URDF, so the two cannot disagree.

Frames follow REP 103: ``base_link`` stands on the table, x forward, y left, z up. ``ee_link`` lies between
the finger tips: x is the approach direction out of the gripper, y the direction in which the fingers open, z
completes the frame. With all joints at zero the arm is stretched forward and ``ee_link`` is parallel to
``base_link``. With the gripper pointing down and the fingers opening sideways its rotation is
``GRIPPER_DOWN``, the rest orientation of the Bridge data: quaternion (x, y, z, w) = (0, 0.7071, 0, 0.7071).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dream_vla_ros.geometry import (
    Array,
    quaternion_from_matrix,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)

BASE_LINK = "base_link"
EE_LINK = "ee_link"

GRIPPER_DOWN: Array = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
GRIPPER_DOWN.flags.writeable = False

# Grasping a 40 mm block around its centre leaves the tips 8 mm above the table.
FINGERTIP_BEYOND_EE_M = 0.012
FINGER_THICKNESS_M = 0.010
FINGER_WIDTH_M = 0.022
# Position of one finger, half the gap between the pads, with the gripper fully open. The real fingers travel
# from 15 to 37 mm; the stand-in's close fully.
MAX_FINGER_TRAVEL_M = 0.037
FINGER_SPEED_M_S = 0.1


class JointKind(Enum):
    """How a joint moves; the values are the URDF's words."""

    HINGE = "revolute"
    SLIDE = "prismatic"
    FIXED = "fixed"


@dataclass(frozen=True)
class Joint:
    """One joint and the link it carries.

    :param name: Joint name as in ``joint_states``.
    :param parent: Link the joint is mounted on.
    :param child: Link the joint moves; its axes are parallel to the parent's at zero.
    :param origin: Position of the child in the parent at zero [m].
    :param axis: Unit axis of motion.
    :param lower: Lower limit [rad or m].
    :param upper: Upper limit [rad or m].
    :param max_speed: Largest commanded speed [rad/s or m/s].
    :param max_effort: Largest servo effort [N m or N].
    """

    name: str
    parent: str
    child: str
    origin: tuple[float, float, float]
    kind: JointKind = JointKind.HINGE
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    lower: float = 0.0
    upper: float = 0.0
    max_speed: float = 0.0
    max_effort: float = 0.0


_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_MINUS_Y = (0.0, -1.0, 0.0)


def _hinge(
    name: str,
    parent: str,
    child: str,
    origin: tuple[float, float, float],
    axis: tuple[float, float, float],
    limits_deg: tuple[float, float],
) -> Joint:
    lower, upper = (math.radians(limit) for limit in limits_deg)
    # The servos turn at pi rad/s without load; their effort is raised so that gains, not torque, shape lag.
    return Joint(
        name, parent, child, origin, JointKind.HINGE, axis, lower, upper, max_speed=math.pi, max_effort=20.0
    )


def _slide(name: str, child: str, axis: tuple[float, float, float]) -> Joint:
    origin = (0.093575, 0.0, 0.0)
    return Joint(
        name,
        "gripper_link",
        child,
        origin,
        JointKind.SLIDE,
        axis,
        lower=0.0,
        upper=MAX_FINGER_TRAVEL_M,
        max_speed=FINGER_SPEED_M_S,
        max_effort=12.0,
    )


# Offsets and limits of the published WidowX 250 6-DoF description; a full turn stops short of +-180 degrees
# so that no joint angle is ambiguous.
ARM_JOINTS: tuple[Joint, ...] = (
    _hinge("waist", BASE_LINK, "shoulder_link", (0.0, 0.0, 0.072), _Z, (-179.0, 179.0)),
    _hinge("shoulder", "shoulder_link", "upper_arm_link", (0.0, 0.0, 0.03865), _Y, (-108.0, 114.0)),
    _hinge("elbow", "upper_arm_link", "upper_forearm_link", (0.04975, 0.0, 0.25), _Y, (-123.0, 92.0)),
    _hinge(
        "forearm_roll", "upper_forearm_link", "lower_forearm_link", (0.175, 0.0, 0.0), _X, (-179.0, 179.0)
    ),
    _hinge("wrist_angle", "lower_forearm_link", "wrist_link", (0.075, 0.0, 0.0), _Y, (-100.0, 123.0)),
    _hinge("wrist_rotate", "wrist_link", "gripper_link", (0.065, 0.0, 0.0), _X, (-179.0, 179.0)),
)
FINGER_JOINTS: tuple[Joint, ...] = (
    _slide("left_finger", "left_finger_link", _Y),
    _slide("right_finger", "right_finger_link", _MINUS_Y),
)
EE_JOINT = Joint("ee_fixed", "gripper_link", EE_LINK, (0.1364, 0.0, 0.0), JointKind.FIXED)

ARM_JOINT_NAMES: tuple[str, ...] = tuple(joint.name for joint in ARM_JOINTS)
FINGER_JOINT_NAMES: tuple[str, ...] = tuple(joint.name for joint in FINGER_JOINTS)

# Gripper pointing down above the middle of the table, 18 cm up: where inverse kinematics starts from.
HOME_ANGLES: tuple[float, ...] = (0.0, -0.19446111, 0.13102485, 0.0, 1.63423259, 0.0)

_DOWN_QUATERNION = quaternion_from_matrix(GRIPPER_DOWN)


def gripper_down(yaw: float = 0.0) -> Array:
    """Orientation of ``ee_link`` with the gripper pointing straight down.

    :param yaw: Turn about the vertical [rad]; 0 opens the fingers along the base's y axis.
    :returns: (4,) quaternion x, y, z, w in ``base_link``.
    """
    return quaternion_multiply(quaternion_from_rotation_vector([0.0, 0.0, yaw]), _DOWN_QUATERNION)


def gripper_yaw(quaternion: Array) -> float:
    """Turn of the fingers about the vertical [rad], the inverse of :func:`gripper_down`.

    :param quaternion: (4,) x, y, z, w of ``ee_link`` in ``base_link``; a tilt is left out.
    """
    x, y, z, w = quaternion
    return math.atan2(2.0 * (w * z - x * y), 1.0 - 2.0 * (x * x + z * z))
