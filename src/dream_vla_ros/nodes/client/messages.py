"""What the messages of an instruction say, in the client's own types."""

from __future__ import annotations

import math

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped

from dream_vla_msgs.action import ExecuteInstruction
from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.conversions import duration_from_msg, pose_from_msg
from dream_vla_ros.nodes.outcome import Feedback, Outcome, Progress, Result

_STILL_LINEAR = 1e-4  # m/s; a ramp that has come down to this is a hold
_STILL_ANGULAR = 1e-3  # rad/s
_STATUS = {
    GoalStatus.STATUS_SUCCEEDED: "succeeded",
    GoalStatus.STATUS_CANCELED: "canceled",
    GoalStatus.STATUS_ABORTED: "aborted",
}


def feedback_from_message(message: ExecuteInstruction.Feedback) -> Feedback:
    """Read a feedback message."""
    known = message.state in {state.value for state in Progress}
    return Feedback(
        progress=Progress(message.state) if known else Progress.EXECUTING,
        message=message.message,
        elapsed_s=duration_from_msg(message.elapsed),
        chunks=message.chunks,
        latency_s=duration_from_msg(message.latency),
        pose=pose_from_message(message.pose),
        success_probability=message.success_probability,
    )


def result_from_message(message: ExecuteInstruction.Result, status: int) -> Result:
    """Read a result message.

    :param status: State of the action goal, of ``action_msgs/GoalStatus``.
    """
    code, words = message.outcome.code, message.outcome.message
    outcome = Outcome(code) if code in {known.value for known in Outcome} else Outcome.UNKNOWN
    if outcome is Outcome.UNKNOWN and not words:
        words = (
            f"the policy named no outcome (goal status {_STATUS.get(status, status)}); its log may say more"
        )
    return Result(
        outcome,
        words,
        duration_from_msg(message.duration),
        message.chunks,
        pose_from_message(message.final_pose),
    )


def pose_from_message(message: PoseStamped) -> Pose | None:
    """Read a pose.

    :returns: None where the stamp is zero (nothing was measured) or the numbers are no pose.
    """
    if message.header.stamp.sec == 0 and message.header.stamp.nanosec == 0:
        return None
    try:
        return pose_from_msg(message.pose)
    except ValueError:
        return None


def is_still(state: ControllerState) -> bool:
    """Tell whether the controller commands no motion."""
    linear, angular = state.twist.linear, state.twist.angular
    return (
        state.mode != ControllerState.EXECUTING
        and math.hypot(linear.x, linear.y, linear.z) < _STILL_LINEAR
        and math.hypot(angular.x, angular.y, angular.z) < _STILL_ANGULAR
    )
