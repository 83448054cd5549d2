"""The measured state over real DDS: pose topic, joints with a robot description, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from ros_graph import BEST_EFFORT, LATCHED, RELIABLE, Graph
from sensor_msgs.msg import JointState
from std_msgs.msg import Header, String

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose, angle_between, quaternion_from_rpy
from dream_vla_ros.nodes.conversions import pose_stamped, time_to_msg
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.nodes.state_source_tf import TransformSource
from dream_vla_ros.parameters import ParameterError

pytestmark = pytest.mark.ros

FINGERS = ["left_finger", "right_finger"]
ARM_URDF = """<?xml version="1.0" encoding="utf-8"?>
<robot name="arm">
  <link name="base_link"/><link name="upper"/><link name="ee_link"/>
  <joint name="waist" type="revolute">
    <parent link="base_link"/><child link="upper"/>
    <origin xyz="0 0 0.1"/><axis xyz="0 0 1"/><limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
  <joint name="reach" type="prismatic">
    <parent link="upper"/><child link="ee_link"/>
    <origin xyz="0.2 0 0"/><axis xyz="1 0 0"/><limit lower="0" upper="1" effort="1" velocity="1"/>
  </joint>
</robot>"""


def embodiment(source: str) -> Embodiment:
    return Embodiment.from_parameters(
        {
            "robot": "test",
            "cameras.names": ["third_person"],
            "cameras.third_person.topic": "image",
            "state.source": source,
            "state.finger_joints": FINGERS,
            "state.finger_closed": [0.0, 0.0],
            "state.finger_open": [0.04, -0.04],
        }
    )


def joints(names: list[str], positions: list[float], stamp_ns: int) -> JointState:
    return JointState(header=Header(stamp=time_to_msg(stamp_ns)), name=names, position=positions)


@pytest.mark.parametrize("offered", [RELIABLE, BEST_EFFORT], ids=["reliable", "best_effort"])
def test_pose_topic_is_heard_at_either_reliability(graph: Graph, offered):
    source = StateSource(graph.node, embodiment("pose_topic"))
    assert source.latest() is None
    assert f"no pose received on {graph.namespace}/ee_pose" in source.problem
    poses = graph.publisher(PoseStamped, "ee_pose", offered)
    fingers = graph.publisher(JointState, "joint_states", offered)
    graph.wait_matched(poses, fingers)
    pose = Pose(np.array([0.3, -0.1, 0.2]), quaternion_from_rpy([0.1, 0.2, 0.3]))
    stamp_ns = graph.now_ns()

    fingers.publish(joints(FINGERS, [0.03, -0.01], stamp_ns))
    poses.publish(pose_stamped(pose, stamp_ns, "base_link"))
    graph.wait(lambda: (state := source.latest()) is not None and state.gripper is not None)

    state = source.latest()
    np.testing.assert_allclose(state.pose.position, pose.position)
    assert angle_between(state.pose.quaternion, pose.quaternion) < 1e-9
    assert state.stamp_ns == state.joints_stamp_ns == stamp_ns
    assert state.gripper == pytest.approx(0.5)
    assert state.joints == {"left_finger": 0.03, "right_finger": -0.01}
    assert source.problem == source.refused == ""


def test_refused_poses_keep_the_last_good_state_and_name_the_topic(graph: Graph):
    source = StateSource(graph.node, embodiment("pose_topic"))
    poses = graph.publisher(PoseStamped, "ee_pose")
    graph.wait_matched(poses)
    good = Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 0.0, 0.0, 1.0]))
    poses.publish(pose_stamped(good, 1_000, "base_link"))
    graph.wait(source.latest)

    nan = pose_stamped(good, 2_000, "base_link")
    nan.pose.position.y = math.nan
    zero = pose_stamped(good, 2_000, "base_link")
    zero.pose.orientation.w = 0.0
    cases = {
        "not a position": nan,
        "not a rotation": zero,
        "pose carries no stamp": pose_stamped(good, 0, "base_link"),
        "pose is in frame 'camera', not in 'base_link'": pose_stamped(good, 2_000, "camera"),
    }
    for expected, msg in cases.items():
        poses.publish(msg)
        graph.wait(lambda text=expected: text in source.refused, what=expected)
        assert source.refused.startswith(f"{graph.namespace}/ee_pose: ")
        assert source.latest().stamp_ns == 1_000

    poses.publish(pose_stamped(good, 3_000, "base_link"))
    graph.wait(lambda: source.latest().stamp_ns == 3_000)
    assert source.refused == ""


def test_pose_is_computed_from_joints_and_description(graph: Graph):
    source = StateSource(graph.node, embodiment("robot_description"))
    assert "no robot description" in source.problem
    graph.publisher(String, "robot_description", LATCHED).publish(String(data=ARM_URDF))
    states = graph.publisher(JointState, "joint_states", BEST_EFFORT)
    graph.wait_matched(states)
    graph.wait(lambda: "no joint states" in source.problem)

    states.publish(joints(["waist"], [math.pi / 2], 5_000))
    graph.wait(lambda: source.latest() is None and "no position of joint reach" in source.problem)
    states.publish(joints(["reach", *FINGERS], [0.3, 0.04, -0.04], 4_000))
    graph.wait(source.latest)

    state = source.latest()
    np.testing.assert_allclose(state.pose.position, [0.0, 0.5, 0.1], atol=1e-12)
    assert state.stamp_ns == 4_000
    assert state.joints_stamp_ns == 5_000
    assert state.gripper == 1.0

    states.publish(joints(["waist", "reach"], [math.nan, 0.0], 6_000))
    graph.wait(lambda: "position of joint 'waist' is nan" in source.refused)
    states.publish(joints(["waist", "reach"], [0.0], 6_000))
    graph.wait(lambda: "2 joint names but 1 positions" in source.refused)
    assert source.latest().stamp_ns == 4_000


def test_wrong_description_is_reported(graph: Graph):
    source = StateSource(graph.node, embodiment("robot_description"))
    wrong = ARM_URDF.replace("ee_link", "hand")
    graph.publisher(String, "robot_description", LATCHED).publish(String(data=wrong))
    graph.wait(lambda: "has no link 'ee_link'" in source.problem)
    assert source.latest() is None


def test_tf_without_tf2_ros_says_what_to_install(graph: Graph):
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        with pytest.raises(ParameterError, match="install ros-.*-tf2-ros"):
            TransformSource(graph.node, embodiment("tf").frames)
        return
    source = StateSource(graph.node, embodiment("tf"))
    assert source.latest() is None
