"""A policy node with a small checkpoint of random weights, its robot and two clients, as fixtures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.action import ActionClient
from robot_bench import RobotBench

from dream_vla_msgs.action import ExecuteInstruction
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.client.robot import DreamVLA

REPOSITORY = Path(__file__).resolve().parents[3]
ARM = Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 0.7071068, 0.0, 0.7071068]))
INPUT_TIMEOUT_S = 0.8
IMAGE_MAX_AGE_S = 0.4
# Half of eight steps of 0.2 s are executed before the next prediction.
CHUNK_INTERVAL_S = 0.8
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from dream_vla_ros.model.initialize import initialize_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints") / "random_tiny"
    return initialize_checkpoint(REPOSITORY / "models" / "tabletop_tiny", folder, "flow_matching", seed=0)


@pytest.fixture(scope="module")
def node(module_graph, checkpoint):
    """One policy node for all tests; each leaves it active."""
    return module_graph.start(
        "dream_vla_ros.nodes.policy.node",
        parameter_files=[REPOSITORY / "config" / "tabletop.yaml"],
        parameters={
            "checkpoint": str(checkpoint),
            "device": "cpu",
            "threads": 1,
            "timing.input_timeout": INPUT_TIMEOUT_S,
            "timing.image_max_age": IMAGE_MAX_AGE_S,
            "success_period": 0.1,
        },
    )


@pytest.fixture(scope="module")
def shared_bench(module_graph, node):
    bench = RobotBench(module_graph, ARM)
    wait_for_state(module_graph, "active")
    yield bench
    bench.close()


@pytest.fixture
def bench(shared_bench):
    shared_bench.reset()
    yield shared_bench
    shared_bench.reset()


@pytest.fixture(scope="module")
def clients(module_graph):
    made = [DreamVLA(namespace=module_graph.namespace) for _ in range(2)]
    yield made
    for client in made:
        client.close()


@pytest.fixture
def robot(clients, bench):
    """A client whose goal, if any is left, is cancelled after the test."""
    yield clients[0]
    for client in clients:
        client.cancel()
        assert client.wait(TIMEOUT_S)


def wait_for_state(graph, label):
    graph.wait(lambda: state_of(graph) == label, 60.0, f"lifecycle state '{label}'")


def state_of(graph):
    return graph.call(GetState, "policy/get_state", timeout_s=60.0).current_state.label


def change_state(graph, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return graph.call(ChangeState, "policy/change_state", request, 60.0).success


def set_parameter(graph, name, **value):
    kinds = {"string_value": ParameterType.PARAMETER_STRING, "double_value": ParameterType.PARAMETER_DOUBLE}
    ((field, content),) = value.items()
    parameter = Parameter(name=name, value=ParameterValue(type=kinds[field], **{field: content}))
    request = SetParametersAtomically.Request(parameters=[parameter])
    return graph.call(SetParametersAtomically, "policy/set_parameters_atomically", request).result


def send(robot, graph, bench, instruction="pick up the red block", **arguments):
    """Send a goal and return its id once the heartbeat names it."""
    before = bench.active_goal()
    robot.send(instruction, **arguments)
    return graph.wait(
        lambda: bench.active_goal() if bench.active_goal() != before else None, what="heartbeat of the goal"
    )


def result_without_waiting(graph, instruction):
    """Send a goal whether or not the node is active, which the client would wait for; return its result."""
    client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
    graph.wait(client.server_is_ready, what="action server")
    results = []

    def begin():
        # In the node's own thread, or the answer could come before the request is registered.
        sent = client.send_goal_async(ExecuteInstruction.Goal(instruction=instruction))
        sent.add_done_callback(
            lambda done: done.result().get_result_async().add_done_callback(results.append)
        )

    graph.node.executor.create_task(begin)
    graph.wait(lambda: results, what="result of the goal")
    client.destroy()
    return results[0].result().result


def outcome(robot):
    assert robot.wait(TIMEOUT_S), robot.feedback
    return robot.result
