"""Tests of the conversion between a model's actions and motion in SI units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.embodiment import Embodiment, RotationConvention
from dream_vla_ros.geometry import (
    angle_between,
    matrix_from_quaternion,
    normalize_quaternion,
    quaternion_from_matrix,
    quaternion_from_rotation_vector,
    quaternion_from_rpy,
    quaternion_multiply,
    rpy_from_quaternion,
)
from dream_vla_ros.policy.actions import ActionCodec, ActionError, Motion, check_actions

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])
# Bridge's reference rotation: counts angles from the gripper pointing down.
BRIDGE_REFERENCE = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0)
ROUND_TRIP_TOLERANCE = 1e-9


def embodiment(rotation=RotationConvention.ROTATION_VECTOR, reference=None, **action):
    robot = Embodiment.from_parameters(
        {"robot": "test", "cameras.names": ["front"], "cameras.front.topic": "front"}
    )
    robot = replace(robot, action=replace(robot.action, rotation=rotation, **action))
    if reference is not None:
        robot = replace(robot, proprio=replace(robot.proprio, reference_rotation=reference))
    return robot


def codec(*arguments, **action):
    return ActionCodec.from_embodiment(embodiment(*arguments, **action))


def follow(quaternion, vectors):
    """Return the orientation after a chunk of rotations about the base axes."""
    for vector in vectors:
        quaternion = quaternion_multiply(quaternion_from_rotation_vector(vector), quaternion)
    return quaternion


def actions_of(limit_rotation):
    def build(count):
        number = st.floats(-1.0, 1.0)
        angle = st.floats(-limit_rotation, limit_rotation)
        opening = st.floats(0.0, 1.0)
        row = st.tuples(number, number, number, angle, angle, angle, opening)
        return st.lists(row, min_size=count, max_size=count).map(np.array)

    return st.integers(1, 8).flatmap(build)


quaternions = (
    st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1).map(normalize_quaternion)
)
# Orientations whose pitch, counted from the reference, keeps far from gimbal lock along a whole chunk.
near_bridge_reference = st.tuples(st.floats(-3.0, 3.0), st.floats(-0.7, 0.7), st.floats(-3.0, 3.0)).map(
    lambda rpy: quaternion_multiply(
        quaternion_from_rpy(rpy), quaternion_from_matrix(np.reshape(BRIDGE_REFERENCE, (3, 3)))
    )
)


def test_libero_units_become_achieved_motion():
    motion = codec(translation_scale=0.05, rotation_scale=0.5, achieved_fraction=0.27).to_motion(
        [[1.0, -1.0, 0.5, 1.0, 0.0, -0.5, 1.0]], IDENTITY
    )
    assert motion.translation == pytest.approx(np.array([[0.0135, -0.0135, 0.00675]]))
    assert motion.rotation == pytest.approx(np.array([[0.135, 0.0, -0.0675]]))
    assert motion.gripper.tolist() == [1.0]


@pytest.mark.parametrize(
    ("opened", "closed", "number", "opening"),
    [
        (1.0, 0.0, 0.25, 0.25),
        (-1.0, 1.0, 1.0, 0.0),
        (-1.0, 1.0, -1.0, 1.0),
        (0.0, 1.0, 0.25, 0.75),
        (1.0, 0.0, 1.2, 1.0),
        (1.0, 0.0, -0.1, 0.0),
    ],
)
def test_gripper_polarity_and_range(opened, closed, number, opening):
    motion = codec(gripper_open=opened, gripper_closed=closed).to_motion([[0.0] * 6 + [number]], IDENTITY)
    assert motion.gripper[0] == pytest.approx(opening)


def test_rotation_of_its_own_is_not_a_rotation_vector():
    rpy = [0.3, 0.4, -0.5]
    motion = codec(RotationConvention.RPY_ROTATION).to_motion([[0, 0, 0, *rpy, 1]], IDENTITY)
    assert not np.allclose(motion.rotation[0], rpy, atol=0.01)
    assert rpy_from_quaternion(quaternion_from_rotation_vector(motion.rotation[0])) == pytest.approx(rpy)


def test_euler_differences_compose_along_the_chunk():
    """Compare with angles added up by hand: R_k = Euler(rpy_0 + sum of differences) * D."""
    reference = np.reshape(BRIDGE_REFERENCE, (3, 3))
    start_rpy = np.array([0.2, -0.3, 1.0])
    start = quaternion_multiply(quaternion_from_rpy(start_rpy), quaternion_from_matrix(reference))
    differences = np.array([[0.1, 0.0, 0.0], [0.0, 0.2, 0.1], [-0.1, 0.1, 0.3]])
    actions = np.zeros((3, 7))
    actions[:, 3:6] = differences
    motion = codec(RotationConvention.EULER_DIFFERENCE, BRIDGE_REFERENCE).to_motion(actions, start)
    end = matrix_from_quaternion(quaternion_from_rpy(start_rpy + differences.sum(axis=0))) @ reference
    assert angle_between(follow(start, motion.rotation), quaternion_from_matrix(end)) < 1e-9


def test_euler_difference_in_yaw_turns_about_the_vertical():
    actions = np.zeros((2, 7))
    actions[:, 5] = 0.1
    start = quaternion_multiply(
        quaternion_from_rpy([0.3, 0.4, 0.5]), quaternion_from_matrix(np.reshape(BRIDGE_REFERENCE, (3, 3)))
    )
    motion = codec(RotationConvention.EULER_DIFFERENCE, BRIDGE_REFERENCE).to_motion(actions, start)
    assert motion.rotation == pytest.approx(np.tile([0.0, 0.0, 0.1], (2, 1)), abs=1e-9)


@given(
    actions_of(0.9),
    quaternions,
    st.sampled_from([RotationConvention.ROTATION_VECTOR, RotationConvention.RPY_ROTATION]),
    st.floats(0.01, 2.0),
    st.floats(0.05, 1.0),
)
@settings(deadline=None, max_examples=60)
def test_actions_survive_the_way_to_motion_and_back(actions, orientation, convention, scale, fraction):
    robot = codec(
        convention,
        translation_scale=scale,
        achieved_fraction=fraction,
        gripper_open=-1.0,
        gripper_closed=1.0,
    )
    back = robot.to_actions(robot.to_motion(actions, orientation), orientation)
    assert back == pytest.approx(actions, abs=1e-7)


@given(actions_of(0.1), near_bridge_reference)
@settings(deadline=None, max_examples=60)
def test_euler_differences_survive_the_way_to_motion_and_back(actions, orientation):
    robot = codec(RotationConvention.EULER_DIFFERENCE, BRIDGE_REFERENCE)
    back = robot.to_actions(robot.to_motion(actions, orientation), orientation)
    assert back == pytest.approx(actions, abs=1e-7)


@given(actions_of(0.9), quaternions, st.sampled_from(list(RotationConvention)))
@settings(deadline=None, max_examples=60)
def test_motion_survives_the_way_to_actions_and_back(numbers, orientation, convention):
    """The orientation reached is the same whatever the convention, gimbal lock included."""
    robot = codec(convention, BRIDGE_REFERENCE, rotation_scale=0.5, translation_scale=0.05)
    motion = Motion(numbers[:, :3], numbers[:, 3:6], numbers[:, 6])
    back = robot.to_motion(robot.to_actions(motion, orientation), orientation)
    assert back.translation == pytest.approx(motion.translation, abs=ROUND_TRIP_TOLERANCE)
    assert back.gripper == pytest.approx(motion.gripper, abs=ROUND_TRIP_TOLERANCE)
    # Close to gimbal lock transforms3d sets one angle to zero, at the cost of a small rotation.
    assert angle_between(follow(orientation, back.rotation), follow(orientation, motion.rotation)) < 1e-6


@pytest.mark.parametrize(
    ("actions", "complaint"),
    [
        (np.zeros(7), "shape"),
        (np.zeros((2, 6)), r"shape \(2, 6\)"),
        (np.zeros((0, 7)), "shape"),
        ([[0, 0, 0, 0, 0, 0, 1], [0, 0, np.nan, 0, 0, 0, 1]], "action 1 of 2 is not finite: number 2 is nan"),
        ([[0, 0, 0, 0, 0, 0, np.inf]], "number 6 is inf"),
    ],
)
def test_unusable_actions_are_refused(actions, complaint):
    with pytest.raises(ActionError, match=complaint):
        check_actions(actions)
    with pytest.raises(ActionError, match=complaint):
        codec().to_motion(actions, IDENTITY)


@pytest.mark.parametrize("convention", list(RotationConvention))
def test_only_euler_differences_need_the_orientation(convention):
    robot = codec(convention)
    assert robot.needs_orientation == (convention is RotationConvention.EULER_DIFFERENCE)
    actions = np.tile([0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 1.0], (3, 1))
    turned = quaternion_from_rpy([1.0, 0.5, -0.5])
    same = np.allclose(robot.to_motion(actions, IDENTITY).rotation, robot.to_motion(actions, turned).rotation)
    assert same != robot.needs_orientation
