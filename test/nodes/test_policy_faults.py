"""What goes wrong around the policy node: each fault ends the goal with its cause."""

from __future__ import annotations

import re
import time

import pytest
from policy_rig import IMAGE_MAX_AGE_S, outcome, send
from robot_bench import stamp_of

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.nodes.client.robot import Outcome, Progress
from dream_vla_ros.nodes.conversions import uuid_from_msg

pytest_plugins = ["policy_rig"]
pytestmark = pytest.mark.ros


@pytest.mark.parametrize("camera", ["third_person", "wrist"])
def test_missing_camera_ends_the_goal_and_no_chunk_comes_from_old_images(robot, module_graph, bench, camera):
    goal_id = send(robot, module_graph, bench)
    module_graph.wait(lambda: bench.chunks_of(goal_id), what="a chunk")
    bench.switches.cameras[camera] = False
    result = outcome(robot)
    assert result.outcome is Outcome.STALE_INPUT
    assert f"{camera}/image_raw" in result.message
    for arrival, chunk in bench.chunks.entries:
        if uuid_from_msg(chunk.goal_id) == goal_id:
            sent_ns = module_graph.now_ns() - (time.monotonic() - arrival) * 1e9
            computing_s = 0.5
            assert (sent_ns - stamp_of(chunk)) * 1e-9 < IMAGE_MAX_AGE_S + computing_s
    # A chunk from an image that stood still would carry its stamp once more.
    stamps = [stamp_of(chunk) for chunk in bench.chunks_of(goal_id)]
    assert len(set(stamps)) == len(stamps)

    waiting = robot.feedback
    assert waiting is not None
    assert waiting.progress is Progress.WAITING_FOR_INPUT
    assert f"{camera}/image_raw" in waiting.message


def test_goal_waits_for_a_camera_that_comes_back(robot, module_graph, bench):
    bench.switches.cameras["wrist"] = False
    goal_id = send(robot, module_graph, bench)
    module_graph.wait(
        lambda: robot.feedback and robot.feedback.progress is Progress.WAITING_FOR_INPUT,
        what="feedback that input is missing",
    )
    bench.switches.cameras["wrist"] = True
    module_graph.wait(lambda: bench.chunks_of(goal_id), what="a chunk")
    assert robot.result is None


@pytest.mark.parametrize(
    ("switch", "value", "complaint"),
    [
        ("state", False, "state of the arm is .* old"),
        ("ahead_s", 10.0, "stamped (9|10)\\.[0-9]+ s in the future.*clock_tolerance"),
        ("encoding", "8UC3", "image_raw.*8UC3"),
    ],
)
def test_unusable_input_ends_the_goal_with_its_cause(robot, module_graph, bench, switch, value, complaint):
    goal_id = send(robot, module_graph, bench)
    module_graph.wait(lambda: bench.chunks_of(goal_id), what="a chunk")
    setattr(bench.switches, switch, value)
    result = outcome(robot)
    assert result.outcome is Outcome.STALE_INPUT
    assert re.search(complaint, result.message), result.message


def test_controller_that_falls_silent_ends_the_goal(robot, module_graph, bench):
    send(robot, module_graph, bench)
    bench.switches.controller = False
    result = outcome(robot)
    assert result.outcome is Outcome.FAULT
    assert "controller_state" in result.message


def test_controller_that_drops_the_goal_ends_it(robot, module_graph, bench):
    goal_id = send(robot, module_graph, bench)
    # By its third chunk the policy has heard the controller name the goal.
    module_graph.wait(lambda: len(bench.chunks_of(goal_id)) >= 3, what="three chunks")
    bench.switches.naming = False
    bench.switches.mode = ControllerState.IDLE
    bench.switches.message = "the policy has been silent for 0.600 s"
    result = outcome(robot)
    assert result.outcome is Outcome.FAULT
    assert "dropped the goal: the policy has been silent" in result.message


def test_emergency_stop_ends_the_goal_and_bars_new_ones(robot, module_graph, bench):
    send(robot, module_graph, bench)
    bench.press_stop(True)
    assert outcome(robot).outcome is Outcome.EMERGENCY_STOP
    robot.send("pick up the red block")
    result = outcome(robot)
    assert result.outcome is Outcome.EMERGENCY_STOP
    assert "resume" in result.message
    bench.press_stop(False)
    # Delivered on another topic than the goal, so the next goal may be the one that is too early.
    module_graph.wait(lambda: not_stopped(robot), what="a goal after resuming")


def not_stopped(robot):
    robot.send("pick up the red block", time_limit_s=0.2)
    return outcome(robot).outcome is Outcome.TIME_LIMIT


def test_inference_that_fails_ends_the_goal_and_the_node_lives_on(robot, module_graph, bench):
    robot.send("pick up <|image_pad|>")
    result = outcome(robot)
    assert result.outcome is Outcome.FAULT
    assert "inference failed" in result.message
    goal_id = send(robot, module_graph, bench)
    module_graph.wait(lambda: bench.chunks_of(goal_id), what="a chunk of the next goal")
