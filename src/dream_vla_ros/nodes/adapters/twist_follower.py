"""The twist that leads the arm along the target, where the driver takes velocities only."""

from __future__ import annotations

import numpy as np

from dream_vla_ros.control import Command, Mode
from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Array

# Velocity per error [1/s]: what a driver fell behind is caught up within about half a second. With the 0.1 s
# or so that a driver takes to react, twice as much would still be stable.
_GAIN = 2.0


class TwistFollower:
    """The target's own twist, and a share of how far the arm is behind it.

    Velocities alone would let every slip of the driver add up until the leash holds the arm back for good.
    The sum stays within the limits of speed and acceleration, and comes to rest with the target.

    :param period_s: The control period.
    """

    def __init__(self, limits: Limits, period_s: float) -> None:
        self._speeds = limits.linear_speed, limits.angular_speed
        self._changes = limits.linear_acceleration * period_s, limits.angular_acceleration * period_s
        self._sent = np.zeros(3), np.zeros(3)

    def follow(self, command: Command) -> tuple[Array, Array]:
        """Return linear (3,) [m/s] and angular (3,) [rad/s] velocity for one tick."""
        behind = np.zeros(3), np.zeros(3)
        if command.mode is Mode.EXECUTING and command.target is not None and command.measured is not None:
            behind = command.measured.motion_to(command.target)
        wanted = (
            _shorten(own + _GAIN * error, speed)
            for own, error, speed in zip((command.linear, command.angular), behind, self._speeds, strict=True)
        )
        linear, angular = (
            sent + _shorten(want - sent, change)
            for want, sent, change in zip(wanted, self._sent, self._changes, strict=True)
        )
        self._sent = linear, angular
        return linear, angular

    def rest(self) -> None:
        """Forget the motion before: the arm stands."""
        self._sent = np.zeros(3), np.zeros(3)


def _shorten(vector: Array, longest: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)
