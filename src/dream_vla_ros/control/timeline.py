"""The chunk being executed, resampled from its own period to the control period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Array, quaternion_from_rotation_vector, quaternion_multiply

# Sums of control periods miss a chunk's duration by rounding; less than this is no time.
_NO_TIME_S = 1e-9


@dataclass(frozen=True, eq=False)
class Advance:
    """A stretch of a chunk.

    :param translation: (3,) m.
    :param quaternion: (4,) rotation, x, y, z, w, in the axes of the chunk.
    :param action_s: Action time it takes from the chunk; less than the real time where motion is slowed.
    :param gripper: The value of the step it starts in, as it stands in the chunk.
    :param step: Index of that step.
    :param slowed: Whether the speed limits stretched it.
    """

    translation: Array
    quaternion: Array
    action_s: float
    gripper: float
    step: int
    slowed: bool


class Timeline:
    """Position within the newest chunk.

    A step that is faster than the limits takes longer: its path stays as it is, and no motion piles up.

    :param limits: Speed limits of the end effector.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rates: Array = np.zeros(0)
        self._position_s = 0.0
        self.chunk: ActionChunk | None = None

    @property
    def remaining_s(self) -> float:
        """Action time that is left."""
        return 0.0 if self.chunk is None else self.chunk.duration_s - self._position_s

    def load(self, chunk: ActionChunk, skip_s: float) -> None:
        """Replace whatever is left by a newer chunk.

        :param skip_s: Action time at its beginning that was executed already; less than its duration.
        """
        # A step too long to have a finite length gets rate 0: it never moves.
        with np.errstate(over="ignore", divide="ignore"):
            linear = self._limits.linear_speed * chunk.period_s / np.linalg.norm(chunk.translation, axis=1)
            angular = self._limits.angular_speed * chunk.period_s / np.linalg.norm(chunk.rotation, axis=1)
        self._rates = np.minimum(1.0, np.minimum(linear, angular))
        self._position_s = skip_s
        self.chunk = chunk

    def clear(self) -> None:
        """Drop whatever is left."""
        self.chunk = None
        self._position_s = 0.0

    def peek(self, real_s: float) -> Advance | None:
        """Look at the motion of the next stretch without taking it.

        :param real_s: Real time it may take.
        :returns: None if nothing is left.
        """
        chunk = self.chunk
        if chunk is None:
            return None
        first = step = self._step_at(self._position_s)
        position = self._position_s
        translation = np.zeros(3)
        quaternion = np.array([0.0, 0.0, 0.0, 1.0])
        slowed = False
        while real_s > _NO_TIME_S and step < len(chunk):
            rate = float(self._rates[step])
            slowed = slowed or rate < 1.0
            end = (step + 1) * chunk.period_s
            reached = position + real_s * rate
            if reached >= end - _NO_TIME_S:
                reached = end
                real_s -= (end - position) / rate if rate > 0.0 else real_s
            else:
                real_s = 0.0
            share = (reached - position) / chunk.period_s
            translation = translation + chunk.translation[step] * share
            quaternion = quaternion_multiply(
                quaternion_from_rotation_vector(chunk.rotation[step] * share), quaternion
            )
            position = reached
            step += 1
        return Advance(
            translation, quaternion, position - self._position_s, float(chunk.gripper[first]), first, slowed
        )

    def take(self, advance: Advance) -> None:
        """Move past a stretch that :meth:`peek` returned; at its end the chunk is dropped."""
        self._position_s += advance.action_s
        if self.remaining_s <= _NO_TIME_S:
            self.clear()

    def _step_at(self, position_s: float) -> int:
        assert self.chunk is not None
        step = int((position_s + _NO_TIME_S) / self.chunk.period_s)
        return min(step, len(self.chunk) - 1)
