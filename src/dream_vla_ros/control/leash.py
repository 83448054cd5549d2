"""How far a target may run ahead of the measured pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import (
    Pose,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_between,
)


@dataclass(frozen=True)
class Stretch:
    """How far one pose lies from another.

    :param distance: m.
    :param angle: rad.
    """

    distance: float
    angle: float

    @classmethod
    def between(cls, start: Pose, end: Pose) -> Stretch:
        """Measure the way between two poses."""
        return cls(
            float(np.linalg.norm(end.position - start.position)),
            float(np.linalg.norm(rotation_between(start.quaternion, end.quaternion))),
        )


@dataclass(frozen=True)
class Leash:
    """Largest distance and angle between measured pose and target.

    :param distance: m.
    :param angle: rad.
    """

    distance: float
    angle: float

    @classmethod
    def from_limits(cls, limits: Limits) -> Leash:
        """Take the leash of a robot."""
        return cls(limits.leash_distance, limits.leash_angle)

    def is_taut(self, stretch: Stretch) -> bool:
        """Say whether a stretch is longer than the leash."""
        return stretch.distance > self.distance or stretch.angle > self.angle

    def holds_back(self, before: Stretch, after: Stretch) -> bool:
        """Say whether a motion leads further out than the leash reaches.

        Motion back towards the measured pose is always free.
        """
        return (after.distance > self.distance and after.distance > before.distance) or (
            after.angle > self.angle and after.angle > before.angle
        )

    def pull(self, target: Pose, measured: Pose) -> Pose:
        """Return the target moved straight towards the measured pose until the leash is slack."""
        way = target.position - measured.position
        distance = float(np.linalg.norm(way))
        position = target.position
        if distance > self.distance:
            position = measured.position + way * (self.distance / distance)
        turn = rotation_between(measured.quaternion, target.quaternion)
        angle = float(np.linalg.norm(turn))
        quaternion = target.quaternion
        if angle > self.angle:
            quaternion = quaternion_multiply(
                quaternion_from_rotation_vector(turn * (self.angle / angle)), measured.quaternion
            )
        return Pose(position, quaternion)
