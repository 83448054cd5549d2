"""The arm's measured state as the numbers a model was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dream_vla_ros.embodiment import Embodiment, ProprioLayout
from dream_vla_ros.geometry import (
    Array,
    quaternion_conjugate,
    quaternion_multiply,
    rotation_vector_from_quaternion,
    rpy_from_quaternion,
)
from dream_vla_ros.robot_state import RobotState

_TURN = 2.0 * math.pi
# Below this a rotation vector has no direction along which a turn could be added.
_NO_ROTATION_RAD = 1e-9


class ProprioError(ValueError):
    """The measured state lacks something that the model's proprio holds; the message names it."""


@dataclass(frozen=True)
class ProprioWriter:
    """Writes a measured state in one robot's proprio layout.

    An orientation has more than one set of angles: rotation vectors flip sign at half a turn and Euler angles
    jump by a whole one, just where a gripper that points down may be. Of the equivalent sets the writer takes
    the one nearest to ``near``: the middle of the training range at inference, the frame before in a dataset.

    :param embodiment: Says layout, reference rotation and finger joints.
    """

    embodiment: Embodiment

    @property
    def size(self) -> int:
        """How many numbers are written; 0 where the robot gives none."""
        return self.embodiment.proprio.layout.size

    def __call__(self, state: RobotState, near: ArrayLike | None = None) -> Array:
        """Write a state.

        :param near: (size,) proprio whose angles the result's should be close to; None takes the shortest
            rotation vector, or Euler angles within half a turn.
        :returns: (size,): position [m], angles [rad], gripper as the layout says.
        :raises ProprioError: If the gripper or finger joints are unknown.
        """
        layout = self.embodiment.proprio.layout
        centre = None if near is None else np.asarray(near, dtype=np.float64)
        angles_near = np.zeros(3) if centre is None else centre[3:6]
        if layout is ProprioLayout.XYZ_RPY_GRIPPER:
            reference = self.embodiment.proprio.reference_quaternion
            rpy = rpy_from_quaternion(
                quaternion_multiply(state.pose.quaternion, quaternion_conjugate(reference))
            )
            return np.concatenate(
                [state.pose.position, _nearest_turns(rpy, angles_near), [self._opening(state)]]
            )
        if layout is ProprioLayout.XYZ_AXIS_ANGLE_FINGERS:
            vector = rotation_vector_from_quaternion(state.pose.quaternion)
            return np.concatenate(
                [state.pose.position, nearest_rotation_vector(vector, angles_near), self._fingers(state)]
            )
        return np.zeros(0)

    def _opening(self, state: RobotState) -> float:
        if state.gripper is None:
            self._fingers(state)
            raise ProprioError("the gripper's opening is not known")
        return state.gripper

    def _fingers(self, state: RobotState) -> list[float]:
        named = self.embodiment.state
        missing = [
            name for name in named.finger_joints if not math.isfinite(state.joints.get(name, math.nan))
        ]
        if missing:
            raise ProprioError(
                f"no position of finger joint {', '.join(missing)} received on '{named.joint_states_topic}' "
                f"(parameter state.finger_joints)"
            )
        return [state.joints[name] for name in named.finger_joints]


def nearest_rotation_vector(vector: ArrayLike, near: ArrayLike) -> Array:
    """Return the rotation vector of the same rotation that is nearest to another.

    :param vector: (3,) rad.
    :param near: (3,) rad.
    :returns: (3,) rad, of any length.
    """
    vector, near = np.asarray(vector, dtype=np.float64), np.asarray(near, dtype=np.float64)
    angle = float(np.linalg.norm(vector))
    if angle < _NO_ROTATION_RAD:
        return vector
    axis = vector / angle
    turns = round((float(near @ axis) - angle) / _TURN)
    return axis * (angle + turns * _TURN)


def _nearest_turns(angles: Array, near: Array) -> Array:
    return angles + np.round((near - angles) / _TURN) * _TURN
