"""Small motions along and about the base's axes, and whether what was measured is what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Array, Pose

WAY_M = 0.02
TURN_RAD = 0.1
# As slow as a hand reaches for the emergency stop: two centimetres in two seconds.
DURATION_S = 2.0
# Less is not a motion but a tremor.
_STILL = 0.15
# A controller that gives way, or gravity on a light arm, may cost a part of the way.
_SHORTEST, _LONGEST = 0.7, 1.3
_WIDEST_RAD = np.radians(15.0)
_TURNS_ALONG_RAD, _MOVES_ALONG_M = 0.06, 0.006
_WORDS = {
    ("move", 0): ("forward", "back"),
    ("move", 1): ("to the robot's left", "to the robot's right"),
    ("move", 2): ("up", "down"),
}


@dataclass(frozen=True)
class Probe:
    """One motion to try.

    :param turning: About the axis rather than along it.
    :param axis: 0, 1, 2 for the base's x, y, z.
    :param sign: 1 or -1.
    """

    turning: bool
    axis: int
    sign: int

    @property
    def vector(self) -> Array:
        """The motion, (3,) m or rad."""
        vector = np.zeros(3)
        vector[self.axis] = self.sign * (TURN_RAD if self.turning else WAY_M)
        return vector

    @property
    def name(self) -> str:
        """For example ``+x`` or ``turn -z``."""
        return f"{'turn ' if self.turning else ''}{'+' if self.sign > 0 else '-'}{'xyz'[self.axis]}"

    @property
    def words(self) -> str:
        """What a person beside the robot should see."""
        if self.turning:
            way = "counter-clockwise" if self.sign > 0 else "clockwise"
            return f"the gripper turns {way} about {'xyz'[self.axis]}, seen against the axis' direction"
        return f"the gripper goes {_WORDS['move', self.axis][self.sign < 0]}"

    def back(self) -> Probe:
        """Return the motion that leads back."""
        return Probe(self.turning, self.axis, -self.sign)


def choose(turning: bool, axis: int, position: Array, limits: Limits) -> Probe | None:
    """Return the probe along an axis that stays in the workspace; None where there is no room either way.

    :param position: (3,) m, where the end effector is.
    """
    low, high = np.array(limits.workspace_min), np.array(limits.workspace_max)
    for sign in (1, -1):
        probe = Probe(turning, axis, sign)
        end = position if turning else position + probe.vector
        if (
            np.all(position >= low)
            and np.all(position <= high)
            and np.all(end >= low)
            and np.all(end <= high)
        ):
            return probe
    return None


def judge(probe: Probe, before: Pose, after: Pose) -> str:
    """Return what is wrong with a measured motion; empty where it is the one asked for."""
    moved, turned = before.motion_to(after)
    motion, other = (turned, moved) if probe.turning else (moved, turned)
    unit, scale, whole = ("rad", 1.0, TURN_RAD) if probe.turning else ("mm", 1000.0, WAY_M)
    size = float(np.linalg.norm(motion))
    if size < _STILL * whole:
        return f"it hardly moved: {size * scale:.3g} of {whole * scale:g} {unit}"
    along = float(motion @ probe.vector) / whole
    if along <= -size * np.cos(_WIDEST_RAD):
        return "it moved the other way round"
    if along < size * np.cos(_WIDEST_RAD):
        main = int(np.argmax(np.abs(motion)))
        sign = "+" if motion[main] > 0 else "-"
        return f"it moved along {sign}{'xyz'[main]} for the most part: {_list(motion * scale)} {unit}"
    if not _SHORTEST * whole <= size <= _LONGEST * whole:
        return f"it moved {size * scale:.3g} instead of {whole * scale:g} {unit}"
    if probe.turning and np.linalg.norm(other) > _MOVES_ALONG_M:
        return (
            f"its point moved by {1000 * np.linalg.norm(other):.0f} mm while it turned: "
            "frames.end_effector is not the point that the driver turns about"
        )
    if not probe.turning and np.linalg.norm(other) > _TURNS_ALONG_RAD:
        return f"it turned by {np.linalg.norm(other):.2f} rad on the way"
    return ""


def _list(vector: Array) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in vector) + ")"
