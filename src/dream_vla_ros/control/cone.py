"""The cone that the tool's axis must stay in."""

from __future__ import annotations

from dataclasses import dataclass
from math import acos, pi

import numpy as np

from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import (
    Array,
    matrix_from_quaternion,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)

# Two directions that are opposite but for rounding have no plane between them.
_PARALLEL = 1e-9
# An orientation put back onto the cone may pass it by rounding [rad].
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Cone:
    """Orientations whose tool axis lies within an angle of a direction.

    :param tool: (3,) unit vector in the end effector's axes.
    :param direction: (3,) unit vector in the base axes.
    :param angle: Largest angle between them [rad]; pi allows every orientation.
    """

    tool: Array
    direction: Array
    angle: float

    @classmethod
    def from_limits(cls, limits: Limits) -> Cone:
        """Take the cone of a robot."""
        tool, direction = np.array(limits.tool_axis), np.array(limits.cone_axis)
        return cls(
            tool / np.linalg.norm(tool), direction / np.linalg.norm(direction), min(limits.cone_angle, pi)
        )

    @property
    def open(self) -> bool:
        """Whether it allows every orientation."""
        return self.angle >= pi

    def tilt(self, quaternion: Array) -> float:
        """Return the angle between the tool's axis and the cone's direction [rad].

        :param quaternion: (4,) x, y, z, w.
        """
        cosine = float(self.direction @ (matrix_from_quaternion(quaternion) @ self.tool))
        return acos(min(1.0, max(-1.0, cosine)))

    def around(self, quaternion: Array) -> Cone:
        """Return the cone, widened to hold an orientation: from outside the only way is inwards."""
        tilt = 0.0 if self.open else self.tilt(quaternion)
        return self if tilt <= self.angle else Cone(self.tool, self.direction, tilt)

    def holds(self, quaternion: Array) -> bool:
        """Say whether an orientation lies in the cone."""
        return self.open or self.tilt(quaternion) <= self.angle + _ROUNDING

    def clamp(self, quaternion: Array) -> Array:
        """Return the orientation, turned the shortest way into the cone."""
        if self.holds(quaternion):
            return quaternion
        pointing = matrix_from_quaternion(quaternion) @ self.tool
        axis = np.cross(pointing, self.direction)
        length = float(np.linalg.norm(axis))
        if length < _PARALLEL:
            # Pointing the opposite way, every turn is as short as any other.
            axis = np.cross(pointing, np.eye(3)[int(np.argmin(np.abs(pointing)))])
            length = float(np.linalg.norm(axis))
        turn = axis * ((self.tilt(quaternion) - self.angle) / length)
        return quaternion_multiply(quaternion_from_rotation_vector(turn), quaternion)
