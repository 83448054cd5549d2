"""Adapters on the wire: what each publishes of a command, and when it keeps silent."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from ros_graph import Graph
from std_msgs.msg import Float64MultiArray

from dream_vla_msgs.msg import EndEffectorDelta
from dream_vla_ros import embodiment as robot
from dream_vla_ros.control import Cause, Command, Counters, Mode, Reason
from dream_vla_ros.geometry import Pose, quaternion_from_rpy
from dream_vla_ros.nodes.adapters import ADAPTERS, DeltaAdapter, TargetPoseAdapter, make_adapters
from dream_vla_ros.nodes.conversions import duration_from_msg, pose_from_msg, time_from_msg

pytestmark = pytest.mark.ros

START_NS = 1_700_000_000_000_000_000
TICK_NS = 20_000_000
TARGET = Pose(np.array([0.3, -0.1, 0.2]), quaternion_from_rpy([0.3, 0.2, 0.1]))


def embodiment(adapter: str) -> robot.Embodiment:
    return robot.Embodiment.from_parameters(
        {
            "robot": "test",
            "cameras.names": ["third_person"],
            "cameras.third_person.topic": "image",
            "frames.base": "world",
            "frames.end_effector": "tool",
            "output.adapter": adapter,
            "output.target_pose_topic": "goto",
            "output.gripper_topic": "fingers",
        }
    )


def command(tick: int = 0, **values: object) -> Command:
    made = Command(
        stamp_ns=START_NS + tick * TICK_NS,
        mode=Mode.EXECUTING,
        reason=Reason(Cause.NONE),
        send=True,
        target=TARGET,
        linear=np.array([0.1, 0.0, -0.05]),
        angular=np.array([0.0, 0.5, 0.0]),
        duration_s=0.02,
        gripper=None,
        goal_id=bytes(16),
        chunk_id=1,
        step=0,
        measured=TARGET,
        measured_age_s=0.01,
        position_error=0.0,
        rotation_error=0.0,
        counters=Counters(),
    )
    return dataclasses.replace(made, **values)


def test_every_adapter_of_the_configuration_can_be_made(graph: Graph):
    assert set(ADAPTERS) == set(robot.Adapter)
    kinds = [type(a) for a in make_adapters(graph.node, embodiment("delta"))]
    assert kinds == [DeltaAdapter]
    kinds = [type(a) for a in make_adapters(graph.node, embodiment("target_pose"))]
    assert kinds == [DeltaAdapter, TargetPoseAdapter]


def test_delta_carries_the_motion_of_the_tick(graph: Graph):
    deltas = graph.record(EndEffectorDelta, "end_effector_delta")
    adapter = DeltaAdapter(graph.node, embodiment("delta"))
    graph.wait(lambda: deltas.subscription.get_publisher_count() == 1)
    adapter.send(command(3))
    adapter.send(command(4, gripper=0.25))
    blind = Reason(Cause.STATE_STALE, "blind")
    adapter.send(command(5, mode=Mode.NO_STATE, reason=blind, send=False))
    adapter.send(command(6, mode=Mode.IDLE, send=False, linear=np.zeros(3)))
    graph.wait(lambda: len(deltas) == 3)

    first, second, idle = deltas.messages
    assert time_from_msg(first.header.stamp) == START_NS + 3 * TICK_NS
    assert (first.header.frame_id, first.ee_frame) == ("world", "tool")
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
    grippers = graph.record(Float64MultiArray, "fingers")
    adapter = TargetPoseAdapter(graph.node, embodiment("target_pose"))
    graph.wait(lambda: poses.subscription.get_publisher_count() == 1)
    graph.wait(lambda: grippers.subscription.get_publisher_count() == 1)

    adapter.send(command(0, send=False))
    adapter.send(command(1))
    for tick in range(2, 12):
        adapter.send(command(tick, gripper=0.0))
    for tick in range(12, 14):
        adapter.send(command(tick, gripper=1.0))
    graph.wait(lambda: len(poses) == 13 and len(grippers) == 3)

    assert [time_from_msg(p.header.stamp) for p in poses.messages] == [
        START_NS + tick * TICK_NS for tick in range(1, 14)
    ]
    assert poses.last.header.frame_id == "world"
    received = pose_from_msg(poses.last.pose)
    np.testing.assert_array_equal(received.position, TARGET.position)
    np.testing.assert_allclose(received.quaternion, TARGET.quaternion, atol=1e-15)
    # At the change, again after a tenth of a second, and at the next change.
    assert [list(g.data) for g in grippers.messages] == [[0.0], [0.0], [1.0]]
