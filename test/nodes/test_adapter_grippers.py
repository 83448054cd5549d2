"""Grippers on the wire: messages at changes and repeated, actions at changes only and one at a time."""

from __future__ import annotations

import itertools
import threading

import pytest
from adapter_bench import command, embodiment, problem_of, use_interfaces
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from ros_graph import BEST_EFFORT, Graph
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from dream_vla_ros.nodes.adapters import Adapter, make_adapters

pytestmark = pytest.mark.ros


def make(graph: Graph, **parameters: object) -> Adapter:
    return make_adapters(graph.node, embodiment(**parameters))[1]


def test_float_array_is_told_at_changes_and_repeated(graph: Graph):
    messages = graph.record(Float64MultiArray, "fingers")
    adapter = make(graph, gripper="float_array")
    graph.wait(lambda: messages.subscription.get_publisher_count() == 1)
    adapter.send(command(0))
    adapter.send(command(1, send=False, gripper=0.5))
    for tick in range(2, 12):
        adapter.send(command(tick, gripper=0.0))
    for tick in range(12, 14):
        adapter.send(command(tick, gripper=1.0))
    graph.wait(lambda: len(messages) == 3)
    # At the change, again after a tenth of a second, and at the next change.
    assert [list(m.data) for m in messages.messages] == [[0.0], [0.0], [1.0]]


def test_interbotix_pushes_and_relaxes_at_the_ends(graph: Graph):
    use_interfaces("interbotix_xs_msgs")
    from interbotix_xs_msgs.msg import JointSingleCommand

    messages = graph.record(JointSingleCommand, "fingers")
    joints = graph.publisher(JointState, "joint_states", BEST_EFFORT)
    adapter = make(
        graph,
        gripper="interbotix",
        gripper_open=250.0,
        gripper_closed=-250.0,
        gripper_relax=True,
        gripper_joint="gripper",
        **{
            "state.finger_joints": ["left_finger", "right_finger"],
            "state.finger_closed": [0.015, -0.015],
            "state.finger_open": [0.037, -0.037],
        },
    )
    graph.wait_matched(joints)
    graph.wait(lambda: messages.subscription.get_publisher_count() == 1)
    ticks = iter(range(0, 100_000, 10))

    def says(opening: float, expected: float) -> bool:
        adapter.send(command(next(ticks), gripper=opening))
        last = messages.last
        return last is not None and last.name == "gripper" and last.cmd == expected

    graph.wait(lambda: says(1.0, 250.0))
    graph.wait(lambda: says(0.0, -250.0))
    joints.publish(JointState(name=["left_finger", "right_finger"], position=[0.0151, -0.0151]))
    graph.wait(lambda: says(0.0, 0.0))
    graph.wait(lambda: says(1.0, 250.0))
    joints.publish(JointState(name=["left_finger", "right_finger"], position=[0.0369, -0.0369]))
    graph.wait(lambda: says(1.0, 0.0))
    # Something is between the fingers: it is held.
    joints.publish(JointState(name=["left_finger", "right_finger"], position=[0.025, -0.025]))
    graph.wait(lambda: says(0.0, -250.0))


class FakeGripper:
    """An action server that keeps its goals until told to let them end."""

    def __init__(self, graph: Graph, **actions: type) -> None:
        self.node = Node("gripper", namespace=graph.namespace, context=graph.context)
        self.goals: list[tuple[str, object]] = []
        self.cancelled: list[int] = []
        self.end = threading.Event()
        self.accepts = True
        self.result: dict[str, object] = {}
        self._kinds = actions
        group = ReentrantCallbackGroup()
        self._servers = [
            ActionServer(
                self.node,
                kind,
                name,
                execute_callback=lambda handle, name=name: self._execute(name, handle),
                goal_callback=lambda _: GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
                callback_group=group,
            )
            for name, kind in actions.items()
        ]
        self._executor = MultiThreadedExecutor(num_threads=4, context=graph.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _execute(self, name, handle):
        number = len(self.goals)
        self.goals.append((name, handle.request))
        while not self.end.wait(0.01):
            if handle.is_cancel_requested:
                self.cancelled.append(number)
                handle.canceled()
                return self._kinds[name].Result(**self.result)
        handle.succeed()
        return self._kinds[name].Result(**self.result)

    def close(self) -> None:
        self.end.set()
        self._executor.shutdown(timeout_sec=5.0)
        for server in self._servers:
            server.destroy()
        self.node.destroy_node()


@pytest.fixture
def gripper(graph: Graph):
    made: list[FakeGripper] = []

    def start(**actions: type) -> FakeGripper:
        made.append(FakeGripper(graph, **actions))
        return made[-1]

    yield start
    for one in made:
        one.close()


def want(graph: Graph, adapter: Adapter, opening: float, until) -> None:
    """Ask for an opening at every tick until something happened."""
    ticks = itertools.count()

    def asked() -> bool:
        problem_of(adapter, command(next(ticks), gripper=opening))
        return bool(until())

    graph.wait(asked)


def test_gripper_command_is_told_once_for_each_change(graph: Graph, gripper):
    use_interfaces("control_msgs")
    from control_msgs.action import GripperCommand

    robot = gripper(fingers=GripperCommand)
    robot.result = {"reached_goal": True}
    robot.end.set()
    adapter = make(
        graph, gripper="gripper_command", gripper_open=0.04, gripper_closed=0.0, gripper_force=15.0
    )
    want(graph, adapter, 1.0, lambda: len(robot.goals) == 1)
    for tick in range(50):
        adapter.send(command(tick, gripper=1.0))
    want(graph, adapter, 0.0, lambda: len(robot.goals) == 2)
    want(graph, adapter, 0.02, lambda: len(robot.goals) == 2)
    want(graph, adapter, 1.0, lambda: len(robot.goals) == 3)
    asked = [(g.command.position, g.command.max_effort) for _, g in robot.goals]
    assert asked == [(0.04, 15.0), (0.0, 15.0), (0.04, 15.0)]


def test_parallel_gripper_command_names_its_joint(graph: Graph, gripper):
    use_interfaces("control_msgs")
    from control_msgs.action import ParallelGripperCommand

    robot = gripper(fingers=ParallelGripperCommand)
    robot.result = {"stalled": True}
    robot.end.set()
    adapter = make(
        graph,
        gripper="parallel_gripper_command",
        gripper_joint="finger_joint",
        gripper_open=0.0,
        gripper_closed=0.8,
        gripper_speed=0.2,
        gripper_force=30.0,
    )
    want(graph, adapter, 0.0, lambda: len(robot.goals) == 1)
    asked = robot.goals[0][1].command
    assert (list(asked.name), list(asked.position)) == (["finger_joint"], [0.8])
    assert (list(asked.velocity), list(asked.effort)) == ([0.2], [30.0])


def test_franka_moves_to_open_and_grasps_to_close(graph: Graph, gripper):
    use_interfaces("franka_msgs")
    from franka_msgs.action import Grasp, Move

    robot = gripper(**{"fingers/move": Move, "fingers/grasp": Grasp})
    robot.result = {"success": True}
    robot.end.set()
    adapter = make(
        graph,
        gripper="franka",
        gripper_open=0.08,
        gripper_closed=0.0,
        gripper_speed=0.1,
        gripper_force=25.0,
    )
    want(graph, adapter, 1.0, lambda: len(robot.goals) == 1)
    want(graph, adapter, 0.0, lambda: len(robot.goals) == 2)
    (first, move), (second, grasp) = robot.goals
    assert (first, move.width, move.speed) == ("fingers/move", 0.08, 0.1)
    assert (second, grasp.width, grasp.speed, grasp.force) == ("fingers/grasp", 0.0, 0.1, 25.0)
    # Whatever is between the fingers counts as grasped.
    assert grasp.epsilon.outer >= 0.08


def test_a_change_cancels_the_goal_that_runs_and_waits_for_its_end(graph: Graph, gripper):
    use_interfaces("franka_msgs")
    from franka_msgs.action import Grasp, Move

    robot = gripper(**{"fingers/move": Move, "fingers/grasp": Grasp})
    adapter = make(graph, gripper="franka", gripper_open=0.08)
    want(graph, adapter, 1.0, lambda: len(robot.goals) == 1)
    want(graph, adapter, 0.0, lambda: len(robot.goals) == 2)
    assert robot.cancelled == [0]


def test_a_gripper_without_a_driver_is_named(graph: Graph):
    use_interfaces("control_msgs")
    adapter = make(graph, gripper="gripper_command")
    assert problem_of(adapter, command(0)) == ""
    graph.wait(
        lambda: (
            "no action server for fingers: start the gripper's driver"
            in problem_of(adapter, command(1, gripper=1.0))
        )
    )


def test_a_refused_goal_is_not_repeated_before_the_next_change(graph: Graph, gripper):
    use_interfaces("control_msgs")
    from control_msgs.action import GripperCommand

    robot = gripper(fingers=GripperCommand)
    robot.accepts = False
    adapter = make(graph, gripper="gripper_command")
    refused = []
    robot._servers[0].register_goal_callback(lambda _: (refused.append(1), GoalResponse.REJECT)[1])
    want(graph, adapter, 1.0, lambda: len(refused) == 1)
    robot.accepts = True
    robot.end.set()
    robot._servers[0].register_goal_callback(lambda _: GoalResponse.ACCEPT)
    want(graph, adapter, 0.0, lambda: len(robot.goals) == 1)
    assert len(refused) == 1
    assert robot.goals[0][1].command.position == 0.0
