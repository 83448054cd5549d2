"""Faults of cameras, clocks, chunks and clients in the running graph, with a policy that looks at images.

Its weights are random, so it moves the arm without a purpose: enough to see that every command stays within
the limits, that the arm stands within its budget, and that it moves again only when told.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

from fault_relay import CameraRelay, Faults, TestClock
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from ros_graph import LATCHED, RELIABLE
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ActionChunk, ActiveGoal, ControllerState, EndEffectorDelta
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.client.robot import DreamVLA
from dream_vla_ros.nodes.conversions import time_from_msg, time_to_msg, uuid_from_msg
from dream_vla_ros.nodes.outcome import Outcome

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(480)]

REPOSITORY = Path(__file__).parents[2]
TABLETOP = REPOSITORY / "config" / "tabletop.yaml"
ROBOT = Embodiment.from_file(TABLETOP)
PERIOD_S = 1.0 / ROBOT.timing.control_rate
# From the controller's notice to a standing arm, as it promises, and two ticks for the transport.
STOP_TICKS = round(0.2 / PERIOD_S) + 2
STILL_COMMANDS = 25
MOVING_M_S = 0.005
ROUNDING = 1e-6
# What a busy machine delays by must not pass for the fault that a test makes.
PATIENCE = {
    "timing.camera_rate": 8.0,
    "timing.image_max_age": 1.2,
    "timing.camera_max_skew": 0.5,
    "timing.state_max_age": 1.0,
    "timing.policy_timeout": 1.5,
    "timing.chunk_max_age": 8.0,
    "timing.input_timeout": 1.5,
}
HALF_CHUNK_S = 0.8


class World:
    """The running graph on a clock of the test's own, its cameras seen through a relay."""

    def __init__(self, graph, checkpoint):
        self.graph = graph
        self.clock = TestClock(graph)
        self.relay = CameraRelay(graph)
        simulated = {"use_sim_time": True, **PATIENCE}
        start = {"parameter_files": [TABLETOP], "parameters": simulated}
        small = {"image_width": 112, "image_height": 112}
        graph.start("dream_vla_ros.nodes.sim.node", parameter_files=[TABLETOP], parameters=simulated | small)
        graph.start("dream_vla_ros.nodes.controller.node", **start)
        settings = {"checkpoint": str(checkpoint), "device": "cpu", "threads": 1}
        graph.start(
            "dream_vla_ros.nodes.policy.node",
            parameter_files=[TABLETOP],
            parameters=simulated | settings,
            remappings=CameraRelay.remappings(),
        )
        self.commands = graph.record(EndEffectorDelta, "end_effector_delta", RELIABLE)
        self.states = graph.record(ControllerState, "controller_state", RELIABLE)
        self.chunks = graph.record(ActionChunk, "action_chunk", RELIABLE)
        self.chunk_publisher = graph.publisher(ActionChunk, "action_chunk")
        self.goal_publisher = graph.publisher(ActiveGoal, "active_goal", LATCHED)
        self.robot = DreamVLA(namespace=graph.namespace)

    def close(self):
        self.robot.close()
        self.relay.close()
        self.clock.close()

    def move(self):
        """Send a goal and wait until the arm moves for it; return how many states there were by then."""
        # What is still in motion from the goal before must not pass for motion of this one.
        self.states.wait(lambda state: state.mode == ControllerState.IDLE, what="an idle controller")
        self.commands.wait(lambda command: speed(command) == 0.0, what="a standing arm")
        begin = len(self.chunks)
        self.robot.send("pick up the red block", time_limit_s=60.0)
        chunk = self.chunks.wait(start=begin, what="a chunk")
        self.states.wait(
            lambda state: state.mode == ControllerState.EXECUTING and state.goal_id == chunk.goal_id,
            what="the goal to be carried out",
        )
        self.wait_for_motion()
        return len(self.states)

    def wait_for_motion(self):
        self.commands.wait(lambda command: speed(command) > MOVING_M_S, what="motion")

    def wait_for_cause(self, cause, start):
        return self.states.wait(lambda state: state.cause == cause, start=start, what=f"cause {cause}")

    def result(self):
        assert self.robot.wait(20.0), "the goal goes on"
        return self.robot.result

    def assert_at_rest_after(self, state):
        """The arm stands soon after the tick that this state tells of, and goes on standing."""
        tick = self.graph.wait(lambda: self.index_of(state.header.stamp), what="the command of that tick")
        enough = tick + STOP_TICKS + STILL_COMMANDS
        self.graph.wait(lambda: len(self.commands) > enough, what="commands to go on")
        late = self.commands.messages[tick + STOP_TICKS : enough]
        assert max(speed(command) for command in late) == 0.0

    def index_of(self, stamp):
        """Return the number of the newest command of a tick; None if it has not come."""
        messages = self.commands.messages
        return next((i for i in reversed(range(len(messages))) if messages[i].header.stamp == stamp), None)

    def assert_stays_at_rest(self):
        begin = len(self.commands)
        self.graph.wait(lambda: len(self.commands) > begin + STILL_COMMANDS, what="commands to go on")
        assert max(speed(command) for command in self.commands.messages[begin:]) == 0.0

    def assert_moves_when_told(self):
        self.move()
        self.robot.cancel()
        assert self.result().outcome is Outcome.CANCELED

    def set_parameter(self, node, name, value):
        content = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        request = SetParametersAtomically.Request(parameters=[Parameter(name=name, value=content)])
        return self.graph.call(SetParametersAtomically, f"{node}/set_parameters_atomically", request).result


def speed(command):
    return math.hypot(*motion(command.translation)) / PERIOD_S


def motion(vector):
    return vector.x, vector.y, vector.z


def check_limits(commands):
    """Assert that no command broke a limit; commands that were lost on the way are not bridged."""
    limits = ROBOT.limits
    for field, top, acceleration, jerk in (
        ("translation", limits.linear_speed, limits.linear_acceleration, limits.linear_jerk),
        ("rotation", limits.angular_speed, limits.angular_acceleration, limits.angular_jerk),
    ):
        velocities = np.array([motion(getattr(command, field)) for command in commands]) / PERIOD_S
        assert np.linalg.norm(velocities, axis=1).max() <= top + ROUNDING
        accelerations = np.diff(velocities, axis=0) / PERIOD_S
        assert np.linalg.norm(accelerations, axis=1).max() <= acceleration + ROUNDING / PERIOD_S
        jerks = np.diff(accelerations, axis=0) / PERIOD_S
        assert np.linalg.norm(jerks, axis=1).max() <= jerk + ROUNDING / PERIOD_S**2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from dream_vla_ros.model.initialize import initialize_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints") / "random_tiny"
    return initialize_checkpoint(REPOSITORY / "models" / "tabletop_tiny", folder, "flow_matching", seed=0)


@pytest.fixture(scope="module")
def running(module_graph, checkpoint):
    made = World(module_graph, checkpoint)
    yield made
    made.close()


@pytest.fixture
def world(running):
    running.relay.faults = Faults()
    running.robot.wait_until_ready(300.0)
    assert running.graph.call(Trigger, "sim/reset").success
    begin = len(running.commands)
    yield running
    running.robot.cancel()
    assert running.robot.wait(20.0)
    check_limits(running.commands.messages[begin:])


@pytest.mark.parametrize(
    ("faults", "words"),
    [(Faults(frozen=True), "stamp of the one before"), (Faults(ahead_s=10.0), "in the future")],
)
def test_a_camera_that_freezes_or_lives_in_the_future_ends_the_goal(world, faults, words):
    start = world.move()
    world.relay.faults = faults
    result = world.result()
    assert result.outcome is Outcome.STALE_INPUT, result
    assert words in result.message
    ended = world.states.wait(
        lambda state: state.mode == ControllerState.IDLE, start=start, what="the controller to be idle"
    )
    world.relay.faults = Faults()
    world.assert_at_rest_after(ended)
    world.assert_stays_at_rest()
    world.assert_moves_when_told()


def test_images_in_the_wrong_order_are_never_predicted_from_twice(world):
    world.relay.faults = Faults(swapped=True)
    world.move()
    begin = len(world.chunks)
    world.graph.wait(lambda: len(world.chunks) >= begin + 2, 60.0, what="two chunks")
    stamps = [time_from_msg(chunk.header.stamp) for chunk in world.chunks.messages[begin:]]
    assert (np.diff(stamps) > 0).all()
    assert world.robot.result is None


@pytest.mark.parametrize("offset_s", [5.0, -5.0])
def test_a_clock_that_is_set_holds_the_arm_until_newer_images(world, offset_s):
    start = world.move()
    world.clock.offset_s += offset_s
    jumped = world.wait_for_cause(ControllerState.CAUSE_CLOCK_JUMP, start)
    assert f"jumped by {'+' if offset_s > 0.0 else '-'}" in jumped.message
    tick = world.graph.wait(lambda: world.index_of(jumped.header.stamp), what="the command of that tick")
    # Going on takes images and an inference, so that the arm stands in between.
    standing = world.graph.wait(
        lambda: [i for i, c in enumerate(world.commands.messages[tick:], tick) if speed(c) == 0.0],
        what="a standing arm",
    )
    assert standing[0] - tick <= STOP_TICKS
    world.robot.cancel()
    world.result()
    world.assert_moves_when_told()


def test_a_chunk_that_is_not_finite_stops_the_arm(world):
    start = world.move()
    bad = world.chunks.messages[-1]
    bad.chunk_id += 1
    bad.steps[2].translation.y = math.nan
    world.chunk_publisher.publish(bad)
    held = world.states.wait(
        lambda state: (
            state.cause == ControllerState.CAUSE_CHUNK_INVALID and state.mode == ControllerState.HOLDING
        ),
        start=start,
        what="the arm to be held",
    )
    assert "step 2 is not finite" in held.message
    # The goal goes on with the next image.
    world.wait_for_motion()


def test_another_publisher_of_chunks_changes_nothing(world):
    start = world.move()
    for _ in range(5):
        world.chunk_publisher.publish(world.chunks.messages[-1])
    refused = world.wait_for_cause(ControllerState.CAUSE_CHUNK_OUT_OF_ORDER, start)
    assert refused.mode == ControllerState.EXECUTING
    assert world.robot.result is None


def test_another_publisher_of_goals_can_stop_the_arm_but_not_pull_it_to_and_fro(world):
    start = world.move()
    beat = ActiveGoal(active=False)
    beat.header.stamp = time_to_msg(world.clock.now_ns())
    world.goal_publisher.publish(beat)
    ended = world.states.wait(
        lambda state: state.mode == ControllerState.IDLE, start=start, what="the controller to be idle"
    )
    world.assert_at_rest_after(ended)
    result = world.result()
    assert result.outcome is Outcome.FAULT, result
    assert "dropped the goal" in result.message
    world.assert_stays_at_rest()
    world.assert_moves_when_told()


def test_a_cancelled_goal_stands_within_the_budget(world):
    start = world.move()
    goal_id = uuid_from_msg(world.states.messages[-1].goal_id)
    world.robot.cancel()
    assert world.result().outcome is Outcome.CANCELED
    ended = world.states.wait(
        lambda state: state.mode == ControllerState.IDLE, start=start, what="the controller to be idle"
    )
    world.assert_at_rest_after(ended)
    world.assert_stays_at_rest()
    assert goal_id != bytes(16)


def test_three_tenths_of_a_second_of_latency_open_no_gap(world):
    world.relay.faults = Faults(delay_s=0.3)
    begin = len(world.chunks)
    world.move()
    state = world.states.wait(lambda state: state.executed_time > 3.0, what="three seconds of motion")
    latencies = [c.latency.sec + c.latency.nanosec * 1e-9 for c in world.chunks.messages[begin:]]
    assert min(latencies) > 0.3
    # Where the machine itself was later still, a gap is right.
    assert state.idle_time <= 2 * PERIOD_S or max(latencies) > HALF_CHUNK_S - 0.1


def test_parameters_set_while_the_arm_moves_are_refused_or_wait(world):
    world.move()
    result = world.set_parameter("controller", "limits.linear_speed", 2.0)
    assert not result.successful
    assert "read-only" in result.reason or "read only" in result.reason
    assert not world.set_parameter("controller", "stop_time", 0.02).successful
    assert not world.set_parameter("policy", "max_inference_rate", -1.0).successful
    assert world.set_parameter("policy", "max_inference_rate", 5.0).successful
    world.wait_for_motion()
    assert world.robot.result is None
