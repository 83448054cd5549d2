"""Which adapters there are, what is missing for them, and the two that need no robot's own messages."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import rclpy
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
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.node import Node
from ros_graph import Graph

from dream_vla_msgs.msg import EndEffectorDelta
from dream_vla_ros import embodiment as robot
from dream_vla_ros.control import Cause, Mode, Reason
from dream_vla_ros.nodes.adapters import ADAPTERS, GRIPPERS, AdapterError, make_adapters
from dream_vla_ros.nodes.adapters.adapter import require
from dream_vla_ros.nodes.adapters.delta import DeltaAdapter
from dream_vla_ros.nodes.adapters.target_pose import TargetPoseAdapter
from dream_vla_ros.nodes.conversions import duration_from_msg, pose_from_msg, pose_stamped, time_from_msg

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("adapter", [kind.value for kind in robot.Adapter])
@pytest.mark.parametrize("gripper", [kind.value for kind in robot.GripperAdapter])
def test_every_combination_of_the_configuration_can_be_made(graph: Graph, adapter: str, gripper: str):
    for package in ("moveit_msgs", "control_msgs", "franka_msgs", "interbotix_xs_msgs"):
        use_interfaces(package)
    made = make_adapters(
        graph.node, embodiment(adapter=adapter, gripper=gripper, independent_pose="pose_topic")
    )
    assert isinstance(made[0], DeltaAdapter)
    assert len(made) == 1 + (adapter != "delta") + (gripper != "none")
    for one in made:
        one.close()


def test_every_adapter_of_the_configuration_is_known():
    assert set(ADAPTERS) == set(robot.Adapter) - {robot.Adapter.DELTA}
    assert set(GRIPPERS) == set(robot.GripperAdapter) - {robot.GripperAdapter.NONE}


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("missing_msgs.msg", "output.adapter x needs the package missing_msgs.*ros-.ROS_DISTRO-missing-msgs"),
        ("franka_msgs.nothing", "build franka_ros2"),
        ("interbotix_xs_msgs.nothing", "build interbotix_ros_core"),
    ],
)
def test_a_missing_package_is_an_error_that_says_what_to_install(module: str, words: str):
    with pytest.raises(AdapterError, match=words):
        require(module, "output.adapter x")


@pytest.mark.skipif(
    importlib.util.find_spec("tf2_ros") is not None, reason="tf2_ros is installed: its lack is NOT tested"
)
def test_tf_that_is_missing_is_an_error_that_says_what_to_install(graph: Graph):
    use_interfaces("interbotix_xs_msgs")
    with pytest.raises(AdapterError, match=r"install ros-.ROS_DISTRO-tf2-ros-py, or set output\."):
        make_adapters(graph.node, embodiment(adapter="joint_group"))


def test_delta_carries_the_motion_of_the_tick(graph: Graph):
    deltas = graph.record(EndEffectorDelta, "end_effector_delta")
    adapter = DeltaAdapter(graph.node, embodiment())
    graph.wait(lambda: deltas.subscription.get_publisher_count() == 1)
    adapter.send(command(3))
    adapter.send(command(4, gripper=0.25))
    blind = Reason(Cause.STATE_STALE, "blind")
    adapter.send(command(5, mode=Mode.NO_STATE, reason=blind, send=False))
    adapter.send(command(6, mode=Mode.IDLE, send=False, linear=np.zeros(3)))
    graph.wait(lambda: len(deltas) == 3)

    first, second, idle = deltas.messages
    assert time_from_msg(first.header.stamp) == START_NS + 3 * TICK_NS
    assert (first.header.frame_id, first.ee_frame) == ("base_link", "ee_link")
    assert (first.translation.x, first.translation.z) == (pytest.approx(0.002), pytest.approx(-0.001))
    assert first.rotation.y == pytest.approx(0.01)
    assert duration_from_msg(first.duration) == 0.02
    assert math.isnan(first.gripper)
    assert second.gripper == 0.25
    # Without a state nothing is said, at rest without a goal zero motion is.
    assert time_from_msg(idle.header.stamp) == START_NS + 6 * TICK_NS
    assert idle.translation.x == 0.0


def test_target_pose_is_told_while_the_arm_is_to_be_told(graph: Graph):
    poses = graph.record(PoseStamped, "goto")
    adapter = TargetPoseAdapter(graph.node, embodiment())
    wait_until_sent(graph, adapter, command(0))
    graph.wait(lambda: len(poses) == 1)
    adapter.send(command(1, send=False))
    for tick in range(2, 6):
        adapter.send(command(tick))
    graph.wait(lambda: len(poses) == 5)

    assert [time_from_msg(p.header.stamp) for p in poses.messages] == [
        START_NS + tick * TICK_NS for tick in (0, 2, 3, 4, 5)
    ]
    assert poses.last.header.frame_id == "base_link"
    received = pose_from_msg(poses.last.pose)
    np.testing.assert_array_equal(received.position, TARGET.position)
    np.testing.assert_allclose(received.quaternion, TARGET.quaternion, atol=1e-15)


def test_target_pose_does_not_start_beside_another_publisher(graph: Graph):
    poses = graph.record(PoseStamped, "goto")
    intruder = Node("intruder", namespace=graph.namespace, context=graph.context)
    try:
        other = intruder.create_publisher(PoseStamped, "goto", 10)
        graph.wait(lambda: poses.subscription.get_publisher_count() == 1)
        adapter = TargetPoseAdapter(graph.node, embodiment())
        graph.wait(lambda: "intruder" in problem_of(adapter, command(0)))
        assert f"{graph.namespace}/goto has another publisher, {graph.namespace}/intruder" in problem_of(
            adapter, command(1)
        )
        # Nothing of all that was sent arrived before what is said now.
        other.publish(pose_stamped(TARGET, 1, "sentinel"))
        graph.wait(lambda: len(poses) == 1)
        assert poses.last.header.frame_id == "sentinel"
    finally:
        intruder.destroy_node()
    wait_until_sent(graph, adapter, command(2))
    graph.wait(lambda: len(poses) == 2)


def test_a_motion_beside_a_publisher_that_comes_later_is_led_to_rest(graph: Graph):
    poses = graph.record(PoseStamped, "goto")
    adapter = TargetPoseAdapter(graph.node, embodiment())
    wait_until_sent(graph, adapter, command(0))
    intruder = Node("intruder", namespace=graph.namespace, context=graph.context)
    try:
        intruder.create_publisher(PoseStamped, "goto", 10)
        graph.wait(lambda: "intruder" in problem_of(adapter, command(1)))
        count = len(poses)
        assert "intruder" in problem_of(adapter, command(2))
        graph.wait(lambda: len(poses) > count)
        assert "intruder" in problem_of(adapter, command(3, **STANDS))
        assert "intruder" in problem_of(adapter, command(4))
        adapter_stamps = {time_from_msg(p.header.stamp) for p in poses.messages}
        assert START_NS + 2 * TICK_NS in adapter_stamps
        assert START_NS + 4 * TICK_NS not in adapter_stamps
    finally:
        intruder.destroy_node()


def test_a_second_node_of_the_same_name_counts_once_it_speaks(graph: Graph):
    adapter = TargetPoseAdapter(graph.node, embodiment())
    context = Context()
    rclpy.init(args=[], context=context, domain_id=graph.domain)
    twin = Node("test", namespace=graph.namespace, context=context)
    try:
        other = twin.create_publisher(PoseStamped, "goto", 10)
        # Its entry alone could be that of a node that died.
        wait_until_sent(graph, adapter, command(0))
        graph.wait(lambda: other.get_subscription_count() >= 1)
        other.publish(pose_stamped(TARGET, 1, "base_link"))
        graph.wait(lambda: "a second" in problem_of(adapter, command(1, **STANDS)))
    finally:
        twin.destroy_node()
        rclpy.shutdown(context=context)
    wait_until_sent(graph, adapter, command(2))
