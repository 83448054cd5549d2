"""MoveIt Servo on the wire: nothing moves before the command type is confirmed, and what is sent then."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_bench import (
    STANDS,
    START_NS,
    TARGET,
    TICK_NS,
    command,
    embodiment,
    problem_of,
    use_interfaces,
    wait_until_sent,
)
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from ros_graph import Graph

from dream_vla_ros.control import Mode
from dream_vla_ros.nodes.adapters import AdapterError
from dream_vla_ros.nodes.adapters.servo import ServoPoseAdapter, ServoTwistAdapter
from dream_vla_ros.nodes.conversions import pose_from_msg, time_from_msg

pytestmark = pytest.mark.ros


class FakeServo:
    """Answers ``switch_command_type`` as MoveIt Servo does: joint commands are what it begins with."""

    def __init__(self, graph: Graph, name: str = "servo_node") -> None:
        use_interfaces("moveit_msgs")
        from moveit_msgs.srv import ServoCommandType

        self.kind = ServoCommandType
        self.node = Node(name, namespace=graph.namespace, context=graph.context)
        graph._executor.add_node(self.node)
        self.graph = graph
        self.command_type = ServoCommandType.Request.JOINT_JOG
        self.willing = True
        self.asked = 0
        self.node.create_service(ServoCommandType, "~/switch_command_type", self._switch)

    def _switch(self, request, response):
        self.asked += 1
        if self.willing:
            self.command_type = request.command_type
        response.success = self.command_type == request.command_type
        return response

    def close(self) -> None:
        self.graph._executor.remove_node(self.node)
        self.node.destroy_node()


@pytest.fixture
def servo(graph: Graph):
    use_interfaces("moveit_msgs")
    made = FakeServo(graph)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("adapter", "kind", "topic", "command_type"),
    [
        (ServoTwistAdapter, TwistStamped, "servo_node/delta_twist_cmds", 1),
        (ServoPoseAdapter, PoseStamped, "servo_node/pose_target_cmds", 2),
    ],
)
def test_nothing_is_sent_before_the_type_is_confirmed(graph, servo, adapter, kind, topic, command_type):
    messages = graph.record(kind, topic)
    servo.willing = False
    made = adapter(graph.node, embodiment())
    # At rest without a goal nothing is wrong yet.
    assert problem_of(made, command(0, send=False)) == ""
    graph.wait(lambda: "refuses command type" in problem_of(made, command(1)))
    servo.willing = True
    wait_until_sent(graph, made, command(2))
    assert servo.command_type == command_type
    graph.wait(lambda: len(messages) == 1)
    assert time_from_msg(messages.last.header.stamp) == START_NS + 2 * TICK_NS
    assert messages.last.header.frame_id == "base_link"


def test_a_servo_that_is_not_there_is_named(graph: Graph):
    use_interfaces("moveit_msgs")
    adapter = ServoPoseAdapter(graph.node, embodiment(servo_node="left/servo"))
    words = f"no service {graph.namespace}/left/servo/switch_command_type: start MoveIt Servo"
    graph.wait(lambda: words in problem_of(adapter, command()))


def test_a_servo_that_starts_anew_is_switched_again(graph: Graph, servo: FakeServo):
    adapter = ServoTwistAdapter(graph.node, embodiment())
    wait_until_sent(graph, adapter, command(0))
    servo.command_type = servo.kind.Request.JOINT_JOG
    graph.wait(lambda: servo.command_type == servo.kind.Request.TWIST)


def test_a_servo_that_falls_silent_stops_the_arm(graph: Graph, servo: FakeServo):
    adapter = ServoPoseAdapter(graph.node, embodiment())
    wait_until_sent(graph, adapter, command(0))
    graph._executor.remove_node(servo.node)
    graph.wait(lambda: "does not answer" in problem_of(adapter, command(1, **STANDS)))
    graph._executor.add_node(servo.node)
    wait_until_sent(graph, adapter, command(2))


def test_poses_are_those_of_the_target(graph: Graph, servo: FakeServo):
    poses = graph.record(PoseStamped, "servo_node/pose_target_cmds")
    adapter = ServoPoseAdapter(graph.node, embodiment())
    wait_until_sent(graph, adapter, command(0))
    graph.wait(lambda: len(poses) == 1)
    received = pose_from_msg(poses.last.pose)
    np.testing.assert_array_equal(received.position, TARGET.position)
    np.testing.assert_allclose(received.quaternion, TARGET.quaternion, atol=1e-15)


def test_twists_come_to_rest_with_the_target(graph: Graph, servo: FakeServo):
    twists = graph.record(TwistStamped, "servo_node/delta_twist_cmds")
    adapter = ServoTwistAdapter(graph.node, embodiment())
    wait_until_sent(graph, adapter, command(0))
    for tick in range(1, 30):
        adapter.send(command(tick))
    for tick in range(30, 60):
        adapter.send(command(tick, mode=Mode.HOLDING, **STANDS))
    adapter.send(command(60, send=False))
    graph.wait(lambda: len(twists) == 60)
    moving, resting = twists.messages[29].twist, twists.messages[59].twist
    assert (moving.linear.x, moving.linear.z, moving.angular.y) == pytest.approx((0.1, -0.05, 0.5))
    assert (resting.linear.x, resting.linear.z, resting.angular.y) == (0.0, 0.0, 0.0)


def test_a_rate_too_slow_for_servo_is_refused(graph: Graph):
    with pytest.raises(AdapterError, match=r"timing.control_rate is 20 Hz.*30 Hz or more"):
        ServoPoseAdapter(graph.node, embodiment(**{"timing.control_rate": 20.0}))
