"""Inverse kinematics: poses are reached, limits hold, and what does not fit is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.inverse_kinematics import InverseKinematics
from dream_vla_ros.kinematics import ForwardKinematics, KinematicsError
from dream_vla_ros.sim.arm import ARM_JOINT_NAMES, ARM_JOINTS, BASE_LINK, EE_LINK, HOME_ANGLES
from dream_vla_ros.sim.urdf import robot_description

PERIOD_S = 0.02
HOME = dict(zip(ARM_JOINT_NAMES, HOME_ANGLES, strict=True))
POSITION_TOLERANCE_M = 1e-4
ANGLE_TOLERANCE_RAD = 1e-3


def solver(joint_speed: float = 3.0) -> InverseKinematics:
    chain = ForwardKinematics.from_urdf(robot_description(), BASE_LINK, EE_LINK)
    made = InverseKinematics(chain, joint_speed)
    made.begin(HOME)
    return made


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(-0.3, 0.3)] * 6))
def test_poses_that_joints_can_make_are_reached(offsets: tuple):
    arm = solver()
    start = arm.pose()
    joints = {name: HOME[name] + offset for name, offset in zip(ARM_JOINT_NAMES, offsets, strict=True)}
    target = arm.chain.pose(joints)
    way, turn = start.motion_to(target)
    steps = 100
    for step in range(1, steps + 1):
        arm.step(start.moved(way * step / steps, turn * step / steps), PERIOD_S)
    for _ in range(50):
        arm.step(target, PERIOD_S)
    translation, rotation = arm.pose().motion_to(target)
    assert np.linalg.norm(translation) < POSITION_TOLERANCE_M
    assert np.linalg.norm(rotation) < ANGLE_TOLERANCE_RAD


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(-0.5, 1.0)),
    st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.floats(-3.0, 3.0)),
    st.floats(0.2, 4.0),
)
def test_joints_stay_within_limits_wherever_the_target_is(where: tuple, turn: tuple, speed: float):
    arm = solver(speed)
    before = HOME
    target = Pose(np.array(where), quaternion_from_rotation_vector(turn))
    for _ in range(150):
        positions = arm.step(target, PERIOD_S)
        for joint in ARM_JOINTS:
            assert joint.lower - 1e-6 <= positions[joint.name] <= joint.upper + 1e-6
            moved = abs(positions[joint.name] - before[joint.name])
            assert moved <= min(speed, joint.max_speed) * PERIOD_S + 1e-6
        before = positions


def test_begins_where_the_joints_are():
    arm = solver()
    measured = HOME | {"waist": 0.7, "left_finger": 0.02}
    arm.begin(measured)
    assert arm.positions == pytest.approx({name: measured[name] for name in ARM_JOINT_NAMES})
    np.testing.assert_allclose(arm.pose().position, arm.chain.pose(measured).position, atol=1e-12)


def test_a_joint_that_leans_on_its_limit_may_start():
    arm = solver()
    shoulder = ARM_JOINTS[1]
    arm.begin(HOME | {shoulder.name: shoulder.lower - 0.02})
    assert arm.positions[shoulder.name] == pytest.approx(shoulder.lower)


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ({k: v for k, v in HOME.items() if k != "elbow"}, "no position for joint 'elbow'"),
        (HOME | {"elbow": math.nan}, "no position for joint 'elbow'"),
        (HOME | {"shoulder": 2.5}, "joint 'shoulder' is at 2.500, beyond its limits"),
    ],
)
def test_positions_that_cannot_be_are_refused(measured: dict, words: str):
    with pytest.raises(KinematicsError, match=words):
        solver().begin(measured)


def description(joint: str) -> str:
    return (
        '<robot name="r"><link name="base"/><link name="middle"/><link name="tip"/>'
        '<joint name="first" type="revolute"><parent link="base"/><child link="middle"/>'
        '<limit lower="-1" upper="1" velocity="1" effort="1"/></joint>'
        f"{joint}</robot>"
    )


@pytest.mark.parametrize(
    ("joint", "words"),
    [
        (
            '<joint name="second" type="revolute"><parent link="middle"/><child link="tip"/></joint>',
            "joint 'second' has the limits -inf to inf",
        ),
        (
            '<joint name="second" type="prismatic"><parent link="middle"/><child link="tip"/>'
            '<limit lower="0" upper="0" velocity="1" effort="1"/></joint>',
            "joint 'second' has the limits 0.0 to 0.0",
        ),
        (
            '<joint name="second" type="revolute"><parent link="middle"/><child link="tip"/>'
            '<limit lower="-1" upper="1" velocity="1" effort="1"/><mimic joint="first"/></joint>',
            "joint 'second' mimics 'first'",
        ),
    ],
)
def test_chains_that_cannot_be_led_are_refused(joint: str, words: str):
    chain = ForwardKinematics.from_urdf(description(joint), "base", "tip")
    with pytest.raises(KinematicsError, match=words):
        InverseKinematics(chain, 1.0)


def test_a_joint_that_turns_without_end_needs_no_limits():
    joint = '<joint name="second" type="continuous"><parent link="middle"/><child link="tip"/></joint>'
    chain = ForwardKinematics.from_urdf(description(joint), "base", "tip")
    arm = InverseKinematics(chain, 1.0)
    arm.begin({"first": 0.0, "second": 7.0})
    assert arm.positions["second"] == pytest.approx(7.0)
