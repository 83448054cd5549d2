"""Tests of the client library against an action server in a process of its own."""

from __future__ import annotations

import _thread
import math
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

from dream_vla_msgs.msg import InstructionOutcome
from dream_vla_ros.nodes.client.robot import CommandFailedError, DreamVLA, NotReadyError, Outcome, Progress

pytestmark = pytest.mark.ros

LOST_AFTER_S = 1.0


@pytest.fixture
def robot(domain_id):
    with DreamVLA(lost_after_s=LOST_AFTER_S) as client:
        yield client


def test_outcomes_mirror_the_message():
    constants = {
        name: getattr(InstructionOutcome, name) for name in dir(InstructionOutcome) if name.isupper()
    }
    codes = {name: value for name, value in constants.items() if isinstance(value, int)}
    assert len(codes) >= 11
    assert {o.name: o.value for o in Outcome if o is not Outcome.POLICY_LOST} == codes


def test_do_returns_the_outcome_and_shows_feedback(robot, instruction_server):
    seen = []
    caller = threading.get_ident()
    result = robot.do("settle", on_feedback=lambda f: seen.append((f, threading.get_ident())))
    assert result.outcome is Outcome.SETTLED
    assert result.message == "no motion asked for 1.0 s"
    assert result.chunks == 3
    assert result.duration_s > 0.1
    assert result.final_pose.position[0] == 0.25
    assert robot.is_done()
    assert robot.result is result
    assert seen
    assert {thread for _, thread in seen} == {caller}
    last = seen[-1][0]
    assert last.progress is Progress.EXECUTING
    assert last.latency_s == pytest.approx(0.125)
    assert math.isnan(last.success_probability)
    assert last.pose is None


def test_success_question_and_its_probability(robot, instruction_server):
    seen = []
    result = robot.do("question", success_question="Is it up?", on_feedback=seen.append)
    assert result.outcome is Outcome.SUCCEEDED
    assert seen[-1].success_probability == 0.75


def test_time_limit_is_passed_on(robot, instruction_server):
    result = robot.do("run", time_limit_s=0.4)
    assert result.outcome is Outcome.TIME_LIMIT
    assert result.message == "0.4 s passed"


def test_send_does_not_block_and_cancel_ends_the_goal(robot, instruction_server):
    robot.send("run")
    assert not robot.is_done()
    assert robot.result is None
    assert not robot.wait(timeout_s=0.2)
    robot.cancel()
    assert robot.wait(timeout_s=5.0)
    assert robot.result.outcome is Outcome.CANCELED
    assert robot.wait_until_still(timeout_s=5.0)
    assert robot.controller_state.twist.linear.x == 0.0


def test_still_is_not_claimed_while_the_arm_moves(robot, instruction_server):
    robot.send("run")
    assert not robot.wait_until_still(timeout_s=0.5)


def test_a_new_goal_takes_over_the_handle(robot, instruction_server):
    robot.send("run")
    assert robot.do("settle").outcome is Outcome.SETTLED
    assert robot.is_done()


def test_refusals_carry_their_reason(robot, instruction_server):
    result = robot.do("")
    assert result.outcome is Outcome.REFUSED
    assert result.message == "the instruction is empty"
    assert robot.do("reject").outcome is Outcome.REFUSED


def test_goal_without_outcome_says_so(robot, instruction_server):
    result = robot.do("nameless")
    assert result.outcome is Outcome.UNKNOWN
    assert "aborted" in result.message


@pytest.mark.parametrize("manner", ["die", "hang"])
def test_lost_policy_ends_the_goal(robot, instruction_server, manner):
    began = time.monotonic()
    result = robot.do(manner)
    assert result.outcome is Outcome.POLICY_LOST
    assert "no heartbeat" in result.message
    assert time.monotonic() - began < LOST_AFTER_S + 5.0


def test_policy_killed_in_the_middle(robot, instruction_server):
    robot.send("run")
    deadline = time.monotonic() + 5.0
    while robot.feedback is None and time.monotonic() < deadline:
        time.sleep(0.01)
    instruction_server.kill()
    assert robot.wait(timeout_s=LOST_AFTER_S + 5.0)
    assert robot.result.outcome is Outcome.POLICY_LOST


def test_a_policy_back_again_takes_new_goals(robot, start_instruction_server):
    first = start_instruction_server()
    robot.send("run")
    first.kill()
    first.wait()
    second = start_instruction_server()
    assert robot.wait(timeout_s=LOST_AFTER_S + 15.0)
    assert robot.result.outcome is Outcome.POLICY_LOST
    assert robot.do("settle").outcome is Outcome.SETTLED
    assert second.poll() is None


def test_stop_ends_the_goal_and_resume_releases(robot, instruction_server):
    robot.send("run")
    assert robot.stop() == "stopped"
    assert robot.wait(timeout_s=5.0)
    assert robot.result.outcome is Outcome.EMERGENCY_STOP
    assert robot.resume() == "resumed"
    with pytest.raises(CommandFailedError, match=r"controller/resume.*no emergency stop"):
        robot.resume()


def test_missing_parts_are_named_with_what_to_start(robot):
    with pytest.raises(NotReadyError) as caught:
        robot.do("settle", ready_timeout_s=0.3)
    message = str(caught.value)
    assert "/execute_instruction" in message
    assert "ros2 run dream_vla_ros policy" in message
    assert "/controller_state" in message
    assert "ros2 run dream_vla_ros controller" in message
    with pytest.raises(NotReadyError, match="/controller/stop"):
        robot.stop(timeout_s=0.2)


def test_namespace_is_where_the_client_looks(domain_id, start_instruction_server):
    start_instruction_server("--ros-args", "-r", "__ns:=/left")
    with DreamVLA(namespace="/left") as left:
        assert left.do("settle").outcome is Outcome.SETTLED
    with DreamVLA() as other, pytest.raises(NotReadyError):
        other.send("settle", ready_timeout_s=1.0)


def test_interruption_cancels_the_goal(robot, instruction_server):
    with pytest.raises(KeyboardInterrupt):
        robot.do("run", on_feedback=lambda _: _thread.interrupt_main())
    assert robot.result.outcome is Outcome.CANCELED


def test_leaving_the_block_cancels_the_goal(domain_id, instruction_server):
    with DreamVLA() as client:
        client.send("run")
    assert client.result.outcome is Outcome.CANCELED
    with pytest.raises(RuntimeError, match="closed"):
        client.send("run")


@pytest.mark.parametrize("limit", [-1.0, math.nan, math.inf])
def test_time_limit_must_be_a_length_of_time(robot, limit):
    with pytest.raises(ValueError, match="time_limit_s"):
        robot.send("run", time_limit_s=limit)
