"""Tests of the expert as a process: the policy node's machinery with the scripted expert as policy."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from robot_bench import RobotBench, stamp_of

from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.client.robot import DreamVLA, Outcome
from dream_vla_ros.nodes.sim.topics import BLOCKS_TOPIC
from dream_vla_ros.sim.expert import plan
from dream_vla_ros.sim.imagined import BLOCK_OPENING
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import task_from_instruction

pytestmark = pytest.mark.ros

REPOSITORY = Path(__file__).resolve().parents[2]
DOWN = np.array([0.0, 0.7071068, 0.0, 0.7071068])
LEVEL = np.array([0.0, 0.0, 0.0, 1.0])
ARM = Pose(np.array([0.25, 0.05, 0.2]), DOWN)
BLOCKS = {
    "red": Pose(np.array([0.3, 0.1, 0.015]), LEVEL),
    "blue": Pose(np.array([0.3, -0.1, 0.015]), LEVEL),
}
INPUT_TIMEOUT_S = 0.8
TIMEOUT_S = 20.0


def start(graph, **parameters):
    return graph.start(
        "dream_vla_ros.nodes.policy.expert_node",
        parameter_files=[REPOSITORY / "config" / "tabletop.yaml"],
        parameters={"timing.input_timeout": INPUT_TIMEOUT_S, **parameters},
    )


def state_of(graph):
    return graph.call(GetState, "policy/get_state").current_state.label


@pytest.fixture(scope="module")
def node(module_graph):
    process = start(module_graph, **{"settle.time": 0.5})
    module_graph.wait(lambda: state_of(module_graph) == "active", 60.0, "active expert")
    return process


@pytest.fixture(scope="module")
def shared_bench(module_graph, node):
    bench = RobotBench(module_graph, ARM, blocks=BLOCKS, blocks_topic=BLOCKS_TOPIC)
    yield bench
    bench.close()


@pytest.fixture
def bench(shared_bench):
    shared_bench.reset()
    shared_bench.pose, shared_bench.opening, shared_bench.blocks = ARM, 1.0, BLOCKS
    return shared_bench


@pytest.fixture(scope="module")
def client(module_graph):
    with DreamVLA(namespace=module_graph.namespace) as made:
        yield made


@pytest.fixture
def robot(client, bench):
    yield client
    client.cancel()
    assert client.wait(TIMEOUT_S)


def outcome(robot):
    assert robot.wait(TIMEOUT_S), robot.feedback
    return robot.result


def first_chunk(graph, bench):
    goal_id = graph.wait(bench.active_goal, what="heartbeat of the goal")
    return graph.wait(lambda: bench.chunks_of(goal_id), what="a chunk")[0]


def test_chunk_is_the_experts_plan_for_what_is_on_the_table(robot, module_graph, bench):
    robot.send("Pick up the red block!")
    chunk = first_chunk(module_graph, bench)
    table = TableState(0.0, ARM, 1.0, BLOCKS)
    expected = plan(task_from_instruction("pick up the red block").goal, table, table, 8)
    sent = np.array([[s.translation.x, s.translation.y, s.translation.z, s.gripper] for s in chunk.steps])
    assert sent[:, :3] == pytest.approx(expected.translation, abs=1e-6)
    assert sent[:, 3] == pytest.approx(expected.gripper)
    assert (chunk.model, chunk.objective) == ("expert", "scripted")
    age_s = (module_graph.now_ns() - stamp_of(chunk)) * 1e-9
    assert 0.0 < age_s < TIMEOUT_S


def test_expert_with_nothing_left_to_do_settles(robot, module_graph, bench):
    """A block held high up is all that lifting asks for."""
    high = Pose(np.array([0.3, 0.1, 0.25]), DOWN)
    bench.pose, bench.opening = high, BLOCK_OPENING
    bench.blocks = {**BLOCKS, "red": Pose(high.position, LEVEL)}
    goal = task_from_instruction("pick up the red block").goal
    start_table = TableState(0.0, ARM, 1.0, BLOCKS)
    assert plan(goal, start_table, TableState(0.0, high, BLOCK_OPENING, bench.blocks), 8).settled
    robot.send("pick up the red block")
    result = outcome(robot)
    assert result.outcome is Outcome.SETTLED
    assert "no more motion for" in result.message
    assert result.chunks >= 2


def test_words_that_ask_for_no_task_are_refused_with_examples(robot, bench):
    robot.send("make me a sandwich")
    result = outcome(robot)
    assert result.outcome is Outcome.REFUSED
    assert "pick up the" in result.message


def test_block_that_is_not_there_is_a_fault(robot, bench):
    robot.send("pick up the green block")
    result = outcome(robot)
    assert result.outcome is Outcome.FAULT
    assert "no green block" in result.message
    assert "blue, red" in result.message


def test_blocks_that_are_no_longer_seen_end_the_goal(robot, module_graph, bench):
    robot.send("pick up the red block")
    first_chunk(module_graph, bench)
    bench.switches.blocks = False
    result = outcome(robot)
    assert result.outcome is Outcome.STALE_INPUT
    assert BLOCKS_TOPIC in result.message


def test_node_waits_to_be_started_and_ends_its_goal_when_told_to_end(graph):
    """Started by hand; then SIGINT in the middle of a goal still brings the client its outcome."""
    process = start(graph, autostart=False)
    bench = RobotBench(graph, ARM, blocks=BLOCKS, blocks_topic=BLOCKS_TOPIC)
    try:
        assert state_of(graph) == "unconfigured"
        refused = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
        assert not graph.call(ChangeState, "policy/change_state", refused).success
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request(transition=Transition(id=transition))
            assert graph.call(ChangeState, "policy/change_state", request).success
        with DreamVLA(namespace=graph.namespace) as robot:
            robot.send("pick up the red block")
            first_chunk(graph, bench)
            process.signal(signal.SIGINT)
            result = outcome(robot)
            assert result.outcome is Outcome.SHUTDOWN
            graph.wait(lambda: bench.active_goal() is None, what="the goal withdrawn")
        assert process.wait() == 0
    finally:
        bench.close()
