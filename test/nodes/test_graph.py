"""Faults of the whole graph: simulation, controller and policy as processes, driven by the client."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

from ros_graph import LATCHED, RELIABLE
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ControllerState, EndEffectorDelta
from dream_vla_ros.nodes.client.robot import DreamVLA
from dream_vla_ros.nodes.outcome import Outcome

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(180)]

TABLETOP = Path(__file__).parents[2] / "config" / "tabletop.yaml"
PICK = "pick up the red block"
# From the controller's notice to a standing arm, as the controller promises, and two ticks for the transport.
STOP_S = 0.2 + 2 * 0.02
MOVING_M_S = 0.02
# Commands that must come without motion before "it does not move" counts: half a second of them.
STILL_COMMANDS = 25


class World:
    """The running graph, and what the controller commands in it."""

    def __init__(self, graph):
        self.graph = graph
        self.sim = self.start("sim.node")
        self.controller = self.start("controller.node")
        self.policy = self.start("policy.expert_node")
        self.commands = graph.record(EndEffectorDelta, "end_effector_delta", RELIABLE)
        self.states = graph.record(ControllerState, "controller_state", RELIABLE)
        self.success = graph.record(Bool, "sim/success", LATCHED)
        self.robot = DreamVLA(namespace=graph.namespace)

    def start(self, module):
        return self.graph.start(f"dream_vla_ros.nodes.{module}", parameter_files=[TABLETOP])

    def send_and_wait_for_motion(self, instruction=PICK):
        self.robot.send(instruction)
        self.commands.wait(lambda command: speed(command) > MOVING_M_S, what="motion")

    def assert_at_rest_after(self, state):
        """The arm stands soon after that state, and goes on standing."""
        since_s = seconds(state.header.stamp) + STOP_S

        def late():
            return [c for c in self.commands.messages if seconds(c.header.stamp) > since_s]

        begin = len(late())
        self.graph.wait(lambda: len(late()) > begin + STILL_COMMANDS, what="commands to go on")
        assert max(speed(command) for command in late()) == 0.0

    def wait_for_cause(self, cause, start):
        return self.states.wait(lambda state: state.cause == cause, start=start, what=f"cause {cause}")

    def reset(self):
        assert self.graph.call(Trigger, "sim/reset").success

    def result(self):
        """Return how the goal ended, waiting for it."""
        assert self.robot.wait(30.0), "the goal goes on"
        return self.robot.result

    def assert_goal_is_carried_out(self):
        self.reset()
        result = self.robot.do(PICK, time_limit_s=60.0, ready_timeout_s=60.0)
        assert result.outcome is Outcome.SETTLED, result
        assert self.success.last is not None
        assert self.success.last.data


def speed(command):
    duration_s = command.duration.sec + command.duration.nanosec * 1e-9
    motion = command.translation
    return math.hypot(motion.x, motion.y, motion.z) / duration_s


def seconds(stamp):
    return stamp.sec + stamp.nanosec * 1e-9


@pytest.fixture(scope="module")
def running(module_graph):
    world = World(module_graph)
    yield world
    world.robot.close()


@pytest.fixture
def world(running):
    running.robot.wait_until_ready(60.0)
    running.reset()
    return running


def test_cameras_to_commands_to_success(world):
    world.assert_goal_is_carried_out()


def test_policy_killed_and_back_in_the_middle_of_a_goal(world):
    start = len(world.states)
    world.send_and_wait_for_motion()
    world.policy.stop(signal.SIGKILL)
    lost = world.wait_for_cause(ControllerState.CAUSE_POLICY_LOST, start)
    assert world.result().outcome is Outcome.POLICY_LOST
    world.policy = world.start("policy.expert_node")
    world.robot.wait_until_ready(60.0)
    # The new policy is there, the old goal was not over: it must not be taken up again.
    world.assert_at_rest_after(lost)
    world.assert_goal_is_carried_out()


def test_policy_that_hangs_is_noticed_and_its_late_chunks_move_nothing(world):
    start = len(world.states)
    world.send_and_wait_for_motion()
    world.policy.signal(signal.SIGSTOP)
    try:
        lost = world.wait_for_cause(ControllerState.CAUSE_POLICY_LOST, start)
    finally:
        world.policy.signal(signal.SIGCONT)
    world.assert_at_rest_after(lost)
    world.result()
    world.assert_goal_is_carried_out()


def test_emergency_stop_holds_until_resumed_and_asked_again(world):
    start = len(world.states)
    world.send_and_wait_for_motion()
    world.robot.stop()
    stopped = world.wait_for_cause(ControllerState.CAUSE_EMERGENCY_STOP, start)
    assert world.result().outcome is Outcome.EMERGENCY_STOP
    world.assert_at_rest_after(stopped)
    assert world.robot.do(PICK).outcome is Outcome.EMERGENCY_STOP
    world.robot.resume()
    world.assert_at_rest_after(stopped)
    world.assert_goal_is_carried_out()


def test_robot_that_falls_silent_ends_the_goal(world):
    start = len(world.states)
    world.send_and_wait_for_motion()
    world.sim.signal(signal.SIGSTOP)
    try:
        stale = world.wait_for_cause(ControllerState.CAUSE_STATE_STALE, start)
        result = world.result()
        assert result.outcome in (Outcome.STALE_INPUT, Outcome.FAULT), result
        assert result.message
    finally:
        world.sim.signal(signal.SIGCONT)
    world.graph.wait(lambda: world.states.last.mode == ControllerState.IDLE, what="the controller to be idle")
    world.assert_at_rest_after(stale)
    world.assert_goal_is_carried_out()


def test_controller_killed_and_back_does_not_go_on_by_itself(world):
    world.send_and_wait_for_motion()
    world.controller.stop(signal.SIGKILL)
    result = world.result()
    assert result.outcome is Outcome.FAULT, result
    assert "controller_state" in result.message
    begin = len(world.commands)
    world.controller = world.start("controller.node")
    world.graph.wait(lambda: len(world.commands) > begin + STILL_COMMANDS, 60.0, "commands to come back")
    assert max(speed(command) for command in world.commands.messages[begin:]) == 0.0
    world.assert_goal_is_carried_out()


def test_a_newer_goal_takes_over(world):
    world.send_and_wait_for_motion("push the green block to the left")
    other = DreamVLA(namespace=world.graph.namespace)
    try:
        result = other.do(PICK, time_limit_s=60.0)
    finally:
        other.close()
    assert result.outcome is Outcome.SETTLED, result
    assert world.result().outcome is Outcome.PREEMPTED
