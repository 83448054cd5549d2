"""Notices when ROS time was set while the controller ran."""

from __future__ import annotations

from dataclasses import dataclass

from dream_vla_ros.control.command import Cause, Reason
from dream_vla_ros.embodiment import Timing
from dream_vla_ros.robot_state import RobotState

# ROS time that runs ahead of the steady clock by more than this between two ticks was set. Simulated time
# comes in steps of up to 0.1 s.
_CLOCK_JUMP_S = 0.25


@dataclass(frozen=True)
class Jump:
    """ROS time was set between two ticks.

    :param passed_s: ROS time between them.
    :param ahead_s: By how much that is more than the steady clock says; negative if ROS time was put back.
    """

    passed_s: float
    ahead_s: float

    @property
    def reason(self) -> Reason:
        """For the user."""
        return Reason(Cause.CLOCK_JUMP, f"ROS time jumped by {self.ahead_s:+.3f} s")


class ClockWatch:
    """Compares ROS time with the steady clock, tick by tick.

    :param timing: Tolerance of clocks, and how long a state may be in use.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._last: tuple[int, int] | None = None
        self._jump: tuple[Jump, int] | None = None

    @property
    def last_ns(self) -> int | None:
        """ROS time of the last tick; None before the first."""
        return None if self._last is None else self._last[0]

    def tick(self, ros_ns: int, steady_ns: int) -> Jump | None:
        """Take in both clocks and return the jump since the last tick, if there was one."""
        before, self._last = self._last, (ros_ns, steady_ns)
        if before is None:
            return None
        passed_s = (ros_ns - before[0]) * 1e-9
        ahead_s = passed_s - (steady_ns - before[1]) * 1e-9
        if passed_s >= -self._timing.clock_tolerance and ahead_s <= _CLOCK_JUMP_S:
            return None
        jump = Jump(passed_s, ahead_s)
        self._jump = jump, steady_ns
        return jump

    def blamed(self, state: RobotState | None, steady_ns: int) -> Reason | None:
        """Return the jump that makes the newest state look old or from the future; None if none does."""
        if state is None or self._jump is None:
            return None
        jump, jumped_ns = self._jump
        recent = (steady_ns - jumped_ns) * 1e-9 <= self._timing.state_max_age
        return jump.reason if recent and state.received_ns <= jumped_ns else None
