"""Which chunks may be executed."""

from __future__ import annotations

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control.command import Cause, Reason
from dream_vla_ros.embodiment import Timing

# Bounds on what one tick has to look at: no policy predicts that far or that finely.
_MOST_STEPS = 1000
_SHORTEST_PERIOD_S = 1e-4
# Sums of control periods miss a duration by rounding; less than this is no time.
_NO_TIME_S = 1e-9


class ChunkIntake:
    """Refuses chunks that come from another goal, another time or in the wrong order.

    :param timing: Largest age, and tolerance between clocks.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._last_id = 0
        self._last_stamp_ns: int | None = None
        self._not_before_ns: int | None = None

    def begin(self) -> None:
        """Forget the chunks of the goal before."""
        self._last_id = 0
        self._last_stamp_ns = None
        self._not_before_ns = None

    def bar_before(self, ros_ns: int) -> None:
        """Refuse from now on whatever was captured before a moment, because the arm was stopped then."""
        self._not_before_ns = ros_ns

    def forget_times(self) -> None:
        """Forget stamps, since the clock was set."""
        self._last_stamp_ns = None

    def check(self, chunk: ActionChunk, goal_id: bytes | None, skip_s: float, ros_ns: int) -> Reason | None:
        """Say why a chunk must not be executed; None if it may.

        :param goal_id: The active goal.
        :param skip_s: Action time executed since the chunk was captured.
        :param ros_ns: Now, ROS time.
        """
        name = f"chunk {chunk.chunk_id}"
        age_s = (ros_ns - chunk.stamp_ns) * 1e-9
        timing = self._timing
        if chunk.goal_id != goal_id:
            active = "none is active" if goal_id is None else f"{goal_id.hex()} is active"
            return Reason(
                Cause.CHUNK_WRONG_GOAL, f"{name} belongs to goal {chunk.goal_id.hex()}, but {active}"
            )
        if len(chunk) > _MOST_STEPS or chunk.period_s < _SHORTEST_PERIOD_S:
            return Reason(
                Cause.CHUNK_INVALID,
                f"{name} has {len(chunk)} steps of {chunk.period_s} s; at most {_MOST_STEPS} of at least "
                f"{_SHORTEST_PERIOD_S} s are executed",
            )
        if -age_s > timing.clock_tolerance:
            return Reason(
                Cause.CHUNK_FUTURE,
                f"{name} is stamped {-age_s:.3f} s in the future: the clocks of camera or policy and "
                "controller disagree",
            )
        if age_s > timing.chunk_max_age:
            return Reason(
                Cause.CHUNK_LATE,
                f"{name} was captured {age_s:.3f} s ago, more than timing.chunk_max_age "
                f"{timing.chunk_max_age} s",
            )
        if self._not_before_ns is not None and chunk.stamp_ns < self._not_before_ns:
            return Reason(Cause.CHUNK_LATE, f"{name} was captured before the arm was stopped")
        # Policies that do not number their chunks leave 0.
        if 0 < chunk.chunk_id <= self._last_id:
            return Reason(Cause.CHUNK_OUT_OF_ORDER, f"{name} comes after chunk {self._last_id}")
        if self._last_stamp_ns is not None and chunk.stamp_ns < self._last_stamp_ns:
            behind_s = (self._last_stamp_ns - chunk.stamp_ns) * 1e-9
            return Reason(
                Cause.CHUNK_OUT_OF_ORDER, f"{name} was captured {behind_s:.3f} s before the chunk it follows"
            )
        if skip_s >= chunk.duration_s - _NO_TIME_S:
            return Reason(
                Cause.CHUNK_LATE,
                f"{name} lasts {chunk.duration_s:.3f} s, but {skip_s:.3f} s were executed since it was "
                "captured",
            )
        return None

    def accept(self, chunk: ActionChunk) -> None:
        """Remember the chunk that is executed now."""
        self._last_id = chunk.chunk_id
        self._last_stamp_ns = chunk.stamp_ns
