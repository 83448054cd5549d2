"""The chunk being executed, resampled from its own period to the control period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control.catch_up import lack, made_up
from dream_vla_ros.control.easing import eased
from dream_vla_ros.control.ensemble import mean_rotation, motion_between
from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import (
    Array,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)

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


@dataclass
class _Fading:
    """What is being faded from.

    :param chunk: In finer steps.
    :param position_s: Action time in it when it was taken over from.
    :param passed_s: Action time since.
    """

    chunk: ActionChunk
    position_s: float
    passed_s: float = 0.0


class Timeline:
    """Position within the newest chunk.

    Motion fades from step to step, and from chunk to chunk when one takes over from another; the gripper is
    the new one's at once. Where that is faster than the limits it takes longer: its path stays as it is, and
    no motion piles up.

    :param limits: Speed limits of the end effector.
    :param fade_s: Action time over which motion fades; 0 switches at once.
    :param catch_up_s: Action time over which the arm catches up with where a chunk has it when it takes over.
    """

    def __init__(self, limits: Limits, fade_s: float = 0.0, catch_up_s: float = 0.0) -> None:
        self._limits = limits
        self._fade_s = fade_s
        self._catch_up_s = catch_up_s
        self._fading: _Fading | None = None
        self._rates: Array = np.zeros(0)
        self._position_s = 0.0
        self._eased: ActionChunk | None = None
        self.chunk: ActionChunk | None = None

    @property
    def remaining_s(self) -> float:
        """Action time that is left."""
        return 0.0 if self.chunk is None else self.chunk.duration_s - self._position_s

    def load(self, chunk: ActionChunk, skip_s: float, done: tuple[Array, Array] | None = None) -> None:
        """Replace whatever is left by a newer chunk.

        :param skip_s: Action time at its beginning that was executed already; less than its duration.
        :param done: Motion since its capture, translation (3,) m and quaternion (4,), x, y, z, w; None takes
            what is left of the chunk as it is.
        """
        fine = eased(chunk, self._fade_s, skip_s)
        if done is not None and self._catch_up_s > 0.0:
            fine = self._catching_up(fine, skip_s, lack(chunk, skip_s, done))
        # A step too long to have a finite length gets rate 0: it never moves.
        with np.errstate(over="ignore", divide="ignore"):
            linear = self._limits.linear_speed * fine.period_s / np.linalg.norm(fine.translation, axis=1)
            angular = self._limits.angular_speed * fine.period_s / np.linalg.norm(fine.rotation, axis=1)
        self._rates = np.minimum(1.0, np.minimum(linear, angular))
        self._fading = None
        if self._eased is not None and self._fade_s > 0.0:
            self._fading = _Fading(self._eased, self._position_s)
        self._position_s = skip_s
        self.chunk, self._eased = chunk, fine

    def _catching_up(self, fine: ActionChunk, skip_s: float, missing: tuple[Array, Array]) -> ActionChunk:
        """Return a chunk that takes over with what is missing, and what fading leaves out, made up for."""
        old, over_s = self._eased, self._catch_up_s
        fade_s = 0.0 if old is None else min(self._fade_s, self.remaining_s, fine.duration_s - skip_s)
        after = motion_between(fine, skip_s, fade_s)
        before = None if old is None else motion_between(old, self._position_s, fade_s)
        if fade_s <= _NO_TIME_S or after is None or before is None:
            return made_up(fine, skip_s, missing, over_s)
        left_out = 1.0 - fade_s / (2.0 * self._fade_s)
        moved, turned = (
            part + left_out * (new - gone) for part, new, gone in zip(missing, after, before, strict=True)
        )

        def share_at(time_s: Array) -> Array:
            return np.where(time_s < fade_s, time_s / self._fade_s, 1.0)

        return made_up(fine, skip_s, (moved, turned), over_s, share_at)

    def clear(self) -> None:
        """Drop whatever is left."""
        self.chunk = self._eased = None
        self._fading = None
        self._position_s = 0.0

    def peek(self, real_s: float) -> Advance | None:
        """Look at the motion of the next stretch without taking it.

        :param real_s: Real time it may take.
        :returns: None if nothing is left.
        """
        chunk, fine = self.chunk, self._eased
        if chunk is None or fine is None:
            return None
        step = _step_at(fine, self._position_s)
        position = self._position_s
        translation = np.zeros(3)
        quaternion = np.array([0.0, 0.0, 0.0, 1.0])
        slowed = False
        while real_s > _NO_TIME_S and step < len(fine):
            rate = float(self._rates[step])
            slowed = slowed or rate < 1.0
            end = (step + 1) * fine.period_s
            reached = position + real_s * rate
            if reached >= end - _NO_TIME_S:
                reached = end
                real_s -= (end - position) / rate if rate > 0.0 else real_s
            else:
                real_s = 0.0
            share = (reached - position) / fine.period_s
            translation = translation + fine.translation[step] * share
            quaternion = quaternion_multiply(
                quaternion_from_rotation_vector(fine.rotation[step] * share), quaternion
            )
            position = reached
            step += 1
        action_s = position - self._position_s
        translation, quaternion = self._faded(translation, quaternion, action_s)
        first = _step_at(chunk, self._position_s)
        return Advance(translation, quaternion, action_s, float(chunk.gripper[first]), first, slowed)

    def take(self, advance: Advance) -> None:
        """Move past a stretch that :meth:`peek` returned; at its end the chunk is dropped."""
        self._position_s += advance.action_s
        if self._fading is not None:
            self._fading.passed_s += advance.action_s
            if self._fading.passed_s >= self._fade_s - _NO_TIME_S:
                self._fading = None
        if self.remaining_s <= _NO_TIME_S:
            self.clear()

    def _faded(self, translation: Array, quaternion: Array, action_s: float) -> tuple[Array, Array]:
        """Mix a stretch of the chunk with that of the chunk it took over from."""
        fading = self._fading
        if fading is None:
            return translation, quaternion
        before = motion_between(fading.chunk, fading.position_s + fading.passed_s, action_s)
        if before is None:
            return translation, quaternion
        # One tick on, so that the first one already goes a little of the new chunk's way.
        share = min(1.0, (fading.passed_s + action_s) / (self._fade_s + action_s)) if action_s > 0.0 else 0.0
        turned = mean_rotation(
            [before[1], rotation_vector_from_quaternion(quaternion)], np.array([1.0 - share, share])
        )
        mixed = before[0] + share * (translation - before[0])
        return mixed, quaternion_from_rotation_vector(turned)


def _step_at(chunk: ActionChunk, position_s: float) -> int:
    step = int((position_s + _NO_TIME_S) / chunk.period_s)
    return min(step, len(chunk) - 1)
