"""How much action time was executed up to any moment, and what motion."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

import numpy as np

from dream_vla_ros.geometry import (
    Array,
    normalize_quaternion,
    quaternion_conjugate,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)

_STILL: Array = np.zeros(3)
_UNTURNED: Array = np.array([0.0, 0.0, 0.0, 1.0])


class ActionHistory:
    """Executed action time and motion against ROS time.

    Each tick's share is executed evenly over the control period that follows it.

    :param period_s: The control period.
    :param horizon_s: How far back moments are asked for.
    """

    def __init__(self, period_s: float, horizon_s: float) -> None:
        self._period_ns = period_s * 1e9
        # Twice the ticks of the horizon: late ticks are caught up, never run more than twice as fast.
        self._stamps: deque[int] = deque(maxlen=int(2.0 * horizon_s / period_s) + 2)
        self._executed: deque[float] = deque(maxlen=self._stamps.maxlen)
        self._ways: deque[tuple[Array, Array]] = deque(maxlen=self._stamps.maxlen)
        self._way = (_STILL, _UNTURNED)
        self.total_s = 0.0

    def clear(self) -> None:
        """Begin anew, with nothing executed."""
        self._stamps.clear()
        self._executed.clear()
        self._ways.clear()
        self._way = (_STILL, _UNTURNED)
        self.total_s = 0.0

    def forget_times(self) -> None:
        """Keep the total but not when it was executed, since the clock was set."""
        self._stamps.clear()
        self._executed.clear()
        self._ways.clear()

    def record(
        self, stamp_ns: int, action_s: float, translation: Array = _STILL, quaternion: Array = _UNTURNED
    ) -> None:
        """Note what one tick executes.

        :param stamp_ns: Time of the tick, ROS time. A clock that was put back a little counts as standing.
        :param action_s: Action time executed from it on.
        :param translation: (3,) m that go with it.
        :param quaternion: (4,) rotation that goes with it, x, y, z, w, in the same axes.
        """
        self._stamps.append(max(stamp_ns, self._stamps[-1]) if self._stamps else stamp_ns)
        self._executed.append(self.total_s)
        self._ways.append(self._way)
        self.total_s += action_s
        moved, turned = self._way
        self._way = moved + translation, normalize_quaternion(quaternion_multiply(quaternion, turned))

    def since(self, stamp_ns: int) -> float:
        """Return the action time [s] commanded from a moment up to the end of the newest tick.

        Of a moment before all that is remembered, only what is remembered counts.

        :param stamp_ns: The moment, ROS time.
        """
        index, share = self._find(stamp_ns)
        if not self._executed:
            return 0.0
        before, after = self._executed[index], self.total_s
        if index + 1 < len(self._executed):
            after = self._executed[index + 1]
        return self.total_s - (before + share * (after - before))

    def way_since(self, stamp_ns: int) -> tuple[Array, Array]:
        """Return the motion commanded from a moment up to the end of the newest tick.

        Of a moment before all that is remembered, only what is remembered counts.

        :param stamp_ns: The moment, ROS time.
        :returns: Translation (3,) m and quaternion (4,), x, y, z, w.
        """
        if not self._ways:
            return _STILL, _UNTURNED
        index, share = self._find(stamp_ns)
        moved, turned = self._ways[index]
        next_moved, next_turned = self._way
        if index + 1 < len(self._ways):
            next_moved, next_turned = self._ways[index + 1]
        turn = rotation_vector_from_quaternion(quaternion_multiply(next_turned, quaternion_conjugate(turned)))
        turned = quaternion_multiply(quaternion_from_rotation_vector(share * turn), turned)
        moved = moved + share * (next_moved - moved)
        return self._way[0] - moved, quaternion_multiply(self._way[1], quaternion_conjugate(turned))

    def _find(self, stamp_ns: int) -> tuple[int, float]:
        """Return the tick during which a moment was, and the share of it that had passed."""
        index = bisect_right(self._stamps, stamp_ns) - 1
        if index < 0:
            return 0, 0.0
        start_ns, span_ns = self._stamps[index], self._period_ns
        if index + 1 < len(self._stamps):
            span_ns = min(span_ns, self._stamps[index + 1] - start_ns)
        return index, min(1.0, (stamp_ns - start_ns) / span_ns) if span_ns > 0.0 else 1.0
