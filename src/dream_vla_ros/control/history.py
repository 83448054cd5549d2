"""How much action time was executed up to any moment."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque


class ActionHistory:
    """Executed action time against ROS time.

    Each tick's share is executed evenly over the control period that follows it.

    :param period_s: The control period.
    :param horizon_s: How far back moments are asked for.
    """

    def __init__(self, period_s: float, horizon_s: float) -> None:
        self._period_ns = period_s * 1e9
        # Twice the ticks of the horizon: late ticks are caught up, never run more than twice as fast.
        self._stamps: deque[int] = deque(maxlen=int(2.0 * horizon_s / period_s) + 2)
        self._executed: deque[float] = deque(maxlen=self._stamps.maxlen)
        self.total_s = 0.0

    def clear(self) -> None:
        """Begin anew, with nothing executed."""
        self._stamps.clear()
        self._executed.clear()
        self.total_s = 0.0

    def forget_times(self) -> None:
        """Keep the total but not when it was executed, since the clock was set."""
        self._stamps.clear()
        self._executed.clear()

    def record(self, stamp_ns: int, action_s: float) -> None:
        """Note what one tick executes.

        :param stamp_ns: Time of the tick, ROS time. A clock that was put back a little counts as standing.
        :param action_s: Action time executed from it on.
        """
        self._stamps.append(max(stamp_ns, self._stamps[-1]) if self._stamps else stamp_ns)
        self._executed.append(self.total_s)
        self.total_s += action_s

    def since(self, stamp_ns: int) -> float:
        """Return the action time [s] commanded from a moment up to the end of the newest tick.

        Of a moment before all that is remembered, only what is remembered counts.

        :param stamp_ns: The moment, ROS time.
        """
        index = bisect_right(self._stamps, stamp_ns) - 1
        if index < 0:
            return self.total_s - (self._executed[0] if self._executed else self.total_s)
        start_ns, before = self._stamps[index], self._executed[index]
        span_ns = self._period_ns
        after = self.total_s
        if index + 1 < len(self._stamps):
            span_ns = min(span_ns, self._stamps[index + 1] - start_ns)
            after = self._executed[index + 1]
        share = min(1.0, (stamp_ns - start_ns) / span_ns) if span_ns > 0.0 else 1.0
        return self.total_s - (before + share * (after - before))
