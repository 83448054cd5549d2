"""Commands of the controller as ControllerState and diagnostics."""

from __future__ import annotations

import math

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose as PoseMsg

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.control import NO_GOAL, Cause, Command, Mode
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.controller.loop import LoopFigures
from dream_vla_ros.nodes.conversions import fill_pose, fill_vector, time_to_msg, uuid_to_msg

# Waiting at the beginning of a goal and resting without one are as it should be.
_WELL = (Cause.NONE, Cause.NO_GOAL, Cause.WAITING_FOR_CHUNK, Cause.TAKEN_OVER)
# A start of a tick this late [s] is a tenth of the period that drivers time out after (MoveIt Servo: 0.1 s).
_LATE_TICK_S = 0.01


def state_to_msg(command: Command, base_frame: str) -> ControllerState:
    """Write what the controller is doing.

    :param base_frame: Frame everything is expressed in.
    """
    msg = ControllerState()
    msg.header.stamp = time_to_msg(command.stamp_ns)
    msg.header.frame_id = base_frame
    msg.mode = int(command.mode)
    msg.cause = int(command.reason.cause)
    msg.message = command.reason.message
    msg.goal_id = uuid_to_msg(command.goal_id)
    msg.chunk_id = command.chunk_id
    msg.step = command.step
    _fill_or_nan(msg.target, command.target)
    _fill_or_nan(msg.measured, command.measured)
    msg.measured_age = command.measured_age_s
    fill_vector(msg.twist.linear, command.linear)
    fill_vector(msg.twist.angular, command.angular)
    msg.gripper = math.nan if command.gripper is None else command.gripper
    msg.position_error = command.position_error
    msg.rotation_error = command.rotation_error
    counters = command.counters
    msg.chunks_accepted = counters.chunks_accepted
    msg.chunks_refused = counters.chunks_refused
    msg.executed_time = counters.executed_s
    msg.idle_time_before_first_chunk = counters.idle_before_first_chunk_s
    msg.idle_time = counters.idle_s
    msg.taken_over = command.taken_over
    msg.speed_limited = command.speed_limited
    msg.workspace_limited = command.workspace_limited
    msg.leash_limited = command.leash_limited
    msg.orientation_limited = command.orientation_limited
    return msg


def diagnostics(
    command: Command,
    figures: LoopFigures,
    *,
    node: str,
    hardware: str,
    policy_silence_s: float,
    period_s: float,
) -> DiagnosticArray:
    """Write the controller's health: motion, measured state, policy and timing.

    :param node: Name of the node, put before each status.
    :param hardware: Name of the robot.
    :param policy_silence_s: Time since the policy was heard; infinity before the first time.
    :param period_s: The control period.
    """
    array = DiagnosticArray()
    array.header.stamp = time_to_msg(command.stamp_ns)
    for name, (level, message, values) in {
        "motion": _motion(command),
        "measured state": _measured(command),
        "policy": _policy(command, policy_silence_s),
        "timing": _timing(figures, period_s),
    }.items():
        array.status.append(
            DiagnosticStatus(
                level=level,
                name=f"{node}: {name}",
                message=message,
                hardware_id=hardware,
                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
            )
        )
    return array


def _motion(command: Command) -> tuple[bytes, str, dict[str, object]]:
    reason = command.reason
    level = DiagnosticStatus.WARN
    if command.mode in (Mode.STOPPED, Mode.NO_STATE):
        level = DiagnosticStatus.ERROR
    elif command.mode is Mode.EXECUTING or reason.cause in _WELL:
        level = DiagnosticStatus.OK
    counters = command.counters
    return (
        level,
        f"{command.mode.name}: {reason.message}" if reason.message else command.mode.name,
        {
            "mode": command.mode.name,
            "cause": reason.cause.name,
            "goal": "" if command.goal_id == NO_GOAL else command.goal_id.hex(),
            "chunks accepted": counters.chunks_accepted,
            "chunks refused": counters.chunks_refused,
            "executed [s]": f"{counters.executed_s:.3f}",
            "idle [s]": f"{counters.idle_s:.3f}",
            "idle before first chunk [s]": f"{counters.idle_before_first_chunk_s:.3f}",
            "speed limited": command.speed_limited,
            "workspace limited": command.workspace_limited,
            "leash limited": command.leash_limited,
            "orientation limited": command.orientation_limited,
        },
    )


def _measured(command: Command) -> tuple[bytes, str, dict[str, object]]:
    well = command.mode is not Mode.NO_STATE
    return (
        DiagnosticStatus.OK if well else DiagnosticStatus.ERROR,
        "fresh" if well else command.reason.message,
        {
            "age [s]": f"{command.measured_age_s:.4f}",
            "position error [m]": f"{command.position_error:.4f}",
            "rotation error [rad]": f"{command.rotation_error:.4f}",
        },
    )


def _policy(command: Command, silence_s: float) -> tuple[bytes, str, dict[str, object]]:
    lost = command.reason.cause is Cause.POLICY_LOST
    message = command.reason.message if lost else ("not heard yet" if math.isinf(silence_s) else "heard")
    return (
        DiagnosticStatus.ERROR if lost else DiagnosticStatus.OK,
        message,
        {"silent for [s]": f"{silence_s:.3f}"},
    )


def _timing(figures: LoopFigures, period_s: float) -> tuple[bytes, str, dict[str, object]]:
    late = figures.jitter_p99_s > _LATE_TICK_S or figures.busy_p99_s > period_s
    return (
        DiagnosticStatus.WARN if late else DiagnosticStatus.OK,
        "ticks come late: the machine is overloaded" if late else "on time",
        {
            "rate [Hz]": f"{figures.rate_hz:.2f}",
            "jitter p99 [ms]": f"{figures.jitter_p99_s * 1e3:.3f}",
            "jitter max [ms]": f"{figures.jitter_max_s * 1e3:.3f}",
            "tick takes p99 [ms]": f"{figures.busy_p99_s * 1e3:.3f}",
            "missed": figures.missed,
        },
    )


def _fill_or_nan(msg: PoseMsg, pose: Pose | None) -> None:
    if pose is not None:
        fill_pose(msg, pose)
        return
    msg.position.x = msg.position.y = msg.position.z = math.nan
    orientation = msg.orientation
    orientation.x = orientation.y = orientation.z = orientation.w = math.nan
