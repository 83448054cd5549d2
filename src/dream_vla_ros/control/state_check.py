"""Whether a measured state may be steered by."""

from __future__ import annotations

import numpy as np

from dream_vla_ros.control.command import Cause, Reason
from dream_vla_ros.embodiment import Timing
from dream_vla_ros.robot_state import RobotState

# No arm reaches this far; a pose beyond it is not one.
_FARTHEST_M = 100.0


def examine_state(
    state: RobotState | None,
    timing: Timing,
    ros_ns: int,
    steady_ns: int,
    missing: str = "",
    refused: str = "",
) -> Reason | None:
    """Say why nothing may be commanded; None if the state is usable.

    :param state: Newest measured state, however old.
    :param missing: What keeps a first state from coming, in words.
    :param refused: Why the newest message about the state was refused; empty if it was not.
    """
    if state is None:
        if refused:
            return Reason(Cause.STATE_INVALID, refused)
        return Reason(Cause.STATE_STALE, missing or "no measured state received")
    if not np.all(np.abs(state.pose.position) < _FARTHEST_M):
        return Reason(
            Cause.STATE_INVALID,
            f"the measured position {state.pose.position.tolist()} m is farther off than any arm reaches",
        )
    ahead_s = (state.stamp_ns - ros_ns) * 1e-9
    if ahead_s > timing.clock_tolerance:
        return Reason(
            Cause.STATE_INVALID,
            f"the measured state is stamped {ahead_s:.3f} s in the future: the clocks of robot and "
            "controller disagree",
        )
    age_s = state.age_s(ros_ns, steady_ns)
    if age_s <= timing.state_max_age:
        return None
    if refused:
        return Reason(Cause.STATE_INVALID, refused)
    return Reason(
        Cause.STATE_STALE,
        f"the measured state is {age_s:.3f} s old, more than timing.state_max_age {timing.state_max_age} s",
    )
