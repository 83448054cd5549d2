"""Commands as messages: the numbers of modes and causes, missing values, diagnostics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.control import NO_GOAL, Cause, Command, Counters, Mode, Reason
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.controller.loop import LoopFigures
from dream_vla_ros.nodes.controller.messages import diagnostics, state_to_msg
from dream_vla_ros.nodes.conversions import pose_from_msg, time_from_msg, uuid_from_msg

GOAL = bytes(range(16))
TARGET = Pose(np.array([0.3, 0.1, 0.2]), np.array([0.0, 1.0, 0.0, 0.0]))
MEASURED = Pose(np.array([0.3, 0.1, 0.19]), np.array([0.0, 1.0, 0.0, 0.0]))
NO_REASON = Reason(Cause.NONE)
ON_TIME = LoopFigures(50.0, 0.001, 0.002, 0.0005, 0)


def command(mode: Mode = Mode.EXECUTING, reason: Reason = NO_REASON, **values: object) -> Command:
    contents = {
        "stamp_ns": 1_700_000_000_123_456_789,
        "mode": mode,
        "reason": reason,
        "send": True,
        "target": TARGET,
        "linear": np.array([0.1, 0.0, -0.1]),
        "angular": np.array([0.0, 0.2, 0.0]),
        "duration_s": 0.02,
        "gripper": 0.0,
        "goal_id": GOAL,
        "chunk_id": 7,
        "step": 3,
        "measured": MEASURED,
        "measured_age_s": 0.01,
        "position_error": 0.01,
        "rotation_error": 0.0,
        "counters": Counters(3, 1, 2.5, 0.4, 0.1),
        "leash_limited": True,
    }
    return Command(**(contents | values))


def test_numbers_are_those_of_the_message():
    constants = {
        name: value for name, value in type(ControllerState).__prepare__("", ()).items() if name.isupper()
    }
    modes = {member.name: member.value for member in Mode}
    causes = {f"CAUSE_{member.name}": member.value for member in Cause}
    assert modes | causes == constants


def test_state_carries_everything():
    msg = state_to_msg(command(reason=Reason(Cause.LEASH, "stuck")), "base_link")
    assert time_from_msg(msg.header.stamp) == 1_700_000_000_123_456_789
    assert msg.header.frame_id == "base_link"
    assert (msg.mode, msg.cause, msg.message) == (
        ControllerState.EXECUTING,
        ControllerState.CAUSE_LEASH,
        "stuck",
    )
    assert uuid_from_msg(msg.goal_id) == GOAL
    assert (msg.chunk_id, msg.step) == (7, 3)
    np.testing.assert_array_equal(pose_from_msg(msg.target).position, TARGET.position)
    np.testing.assert_array_equal(pose_from_msg(msg.measured).position, MEASURED.position)
    assert (msg.twist.linear.z, msg.twist.angular.y) == (-0.1, 0.2)
    assert (msg.gripper, msg.measured_age, msg.position_error) == (0.0, 0.01, 0.01)
    assert (msg.chunks_accepted, msg.chunks_refused) == (3, 1)
    assert (msg.executed_time, msg.idle_time_before_first_chunk, msg.idle_time) == (2.5, 0.4, 0.1)
    assert (msg.speed_limited, msg.workspace_limited, msg.leash_limited) == (False, False, True)


def test_what_is_not_known_is_not_a_number():
    msg = state_to_msg(
        command(Mode.NO_STATE, target=None, measured=None, gripper=None, goal_id=NO_GOAL), "base_link"
    )
    assert math.isnan(msg.target.position.x)
    assert math.isnan(msg.measured.orientation.w)
    assert math.isnan(msg.gripper)
    assert uuid_from_msg(msg.goal_id) == NO_GOAL


def status(
    made: Command, name: str, figures: LoopFigures = ON_TIME, silence_s: float = 0.1
) -> DiagnosticStatus:
    array = diagnostics(
        made, figures, node="controller", hardware="arm", policy_silence_s=silence_s, period_s=0.02
    )
    found = [entry for entry in array.status if entry.name == f"controller: {name}"]
    assert len(found) == 1
    assert found[0].hardware_id == "arm"
    return found[0]


@pytest.mark.parametrize(
    ("mode", "cause", "level"),
    [
        (Mode.EXECUTING, Cause.NONE, DiagnosticStatus.OK),
        (Mode.IDLE, Cause.NO_GOAL, DiagnosticStatus.OK),
        (Mode.HOLDING, Cause.WAITING_FOR_CHUNK, DiagnosticStatus.OK),
        (Mode.HOLDING, Cause.CHUNK_INVALID, DiagnosticStatus.WARN),
        (Mode.IDLE, Cause.POLICY_LOST, DiagnosticStatus.WARN),
        (Mode.STOPPED, Cause.EMERGENCY_STOP, DiagnosticStatus.ERROR),
        (Mode.NO_STATE, Cause.STATE_STALE, DiagnosticStatus.ERROR),
    ],
)
def test_level_of_motion_follows_mode_and_cause(mode, cause, level):
    found = status(command(mode, Reason(cause, "why")), "motion")
    assert found.level == level
    assert "why" in found.message
    assert {v.key: v.value for v in found.values}["cause"] == cause.name


def test_state_policy_and_timing_have_a_status_of_their_own():
    lost = command(Mode.IDLE, Reason(Cause.POLICY_LOST, "silent for 0.6 s"))
    assert status(lost, "policy").level == DiagnosticStatus.ERROR
    assert status(lost, "policy").message == "silent for 0.6 s"
    assert status(command(), "policy", silence_s=math.inf).message == "not heard yet"
    blind = command(Mode.NO_STATE, Reason(Cause.STATE_STALE, "0.3 s old"))
    assert status(blind, "measured state").level == DiagnosticStatus.ERROR
    assert status(blind, "measured state").message == "0.3 s old"
    late = LoopFigures(50.0, 0.011, 0.02, 0.0005, 0)
    assert status(command(), "timing", late).level == DiagnosticStatus.WARN
    slow = LoopFigures(40.0, 0.001, 0.002, 0.021, 3)
    assert status(command(), "timing", slow).level == DiagnosticStatus.WARN
    assert status(command(), "timing").level == DiagnosticStatus.OK
