"""Tests of writing the measured state as a model's proprio."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import (
    Pose,
    angle_between,
    quaternion_from_matrix,
    quaternion_from_rotation_vector,
    quaternion_from_rpy,
    quaternion_multiply,
)
from dream_vla_ros.policy.proprio import ProprioError, ProprioWriter, nearest_rotation_vector
from dream_vla_ros.robot_state import RobotState, gripper_opening

BRIDGE_REFERENCE = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0]
GOLDEN = Path(os.environ.get("DREAM_VLA_GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "golden"))


def robot(layout, **values):
    return Embodiment.from_parameters(
        {
            "robot": "test",
            "cameras.names": ["front"],
            "cameras.front.topic": "front",
            "state.finger_joints": ["left", "right"],
            "state.finger_open": [0.04, -0.04],
            "state.finger_closed": [0.0, 0.0],
            "proprio.layout": layout,
            **values,
        }
    )


def state(embodiment, quaternion=(0.0, 0.0, 0.0, 1.0), position=(0.1, 0.2, 0.3), joints=None):
    joints = {"left": 0.03, "right": -0.02, "elbow": 1.0} if joints is None else joints
    return RobotState(
        stamp_ns=1,
        received_ns=1,
        pose=Pose(np.array(position), np.array(quaternion)),
        joints=joints,
        gripper=gripper_opening(joints, embodiment.state),
    )


def test_no_layout_writes_nothing():
    embodiment = robot("none")
    writer = ProprioWriter(embodiment)
    assert writer.size == 0
    assert writer(state(embodiment)).shape == (0,)


def test_axis_angle_layout():
    embodiment = robot("xyz_axis_angle_fingers")
    vector = np.array([0.4, -0.3, 1.2])
    written = ProprioWriter(embodiment)(state(embodiment, quaternion_from_rotation_vector(vector)))
    assert written == pytest.approx([0.1, 0.2, 0.3, *vector, 0.03, -0.02])


def test_rpy_layout_counts_from_the_reference_rotation():
    """A Bridge gripper that points straight down stands at zero angles, far from gimbal lock."""
    embodiment = robot("xyz_rpy_gripper", **{"proprio.reference_rotation": BRIDGE_REFERENCE})
    down = quaternion_from_matrix(np.reshape(BRIDGE_REFERENCE, (3, 3)))
    writer = ProprioWriter(embodiment)
    assert writer(state(embodiment, down)) == pytest.approx([0.1, 0.2, 0.3, 0, 0, 0, 0.625])
    turned = quaternion_multiply(quaternion_from_rpy([0.1, -0.2, 0.7]), down)
    assert writer(state(embodiment, turned))[3:6] == pytest.approx([0.1, -0.2, 0.7])


@pytest.mark.parametrize("layout", ["xyz_rpy_gripper", "xyz_axis_angle_fingers"])
@pytest.mark.parametrize("joints", [{}, {"left": 0.01}, {"left": 0.01, "right": math.nan}])
def test_missing_fingers_are_named(layout, joints):
    embodiment = robot(layout, **{"state.joint_states_topic": "arm/joint_states"})
    with pytest.raises(ProprioError, match=r"right.*arm/joint_states.*state\.finger_joints"):
        ProprioWriter(embodiment)(state(embodiment, joints=joints))


def test_angles_stay_in_the_training_range_past_half_a_turn():
    """A gripper pointing down turns by about half a turn about x; the shortest vector would flip its sign."""
    embodiment = robot("xyz_axis_angle_fingers")
    writer = ProprioWriter(embodiment)
    near = np.array([0, 0, 0, 3.0, 0, 0, 0, 0])
    for angle in (2.9, math.pi, 3.3, 3.7):
        turned = state(embodiment, quaternion_from_rotation_vector([angle, 0.0, 0.0]))
        assert writer(turned, near)[3:6] == pytest.approx([angle, 0.0, 0.0])
    flipped = state(embodiment, quaternion_from_rotation_vector([3.3, 0.0, 0.0]))
    assert writer(flipped)[3] == pytest.approx(3.3 - 2 * math.pi)


def test_euler_angles_stay_in_the_training_range_past_half_a_turn():
    embodiment = robot("xyz_rpy_gripper")
    turned = state(embodiment, quaternion_from_rpy([0.0, 0.0, math.pi + 0.2]))
    near = np.array([0, 0, 0, 0, 0, 3.0, 0])
    assert ProprioWriter(embodiment)(turned)[5] == pytest.approx(0.2 - math.pi)
    assert ProprioWriter(embodiment)(turned, near)[5] == pytest.approx(math.pi + 0.2)


vectors = st.tuples(*[st.floats(-3.0, 3.0)] * 3).map(np.array)


@given(vectors, vectors)
@settings(deadline=None)
def test_nearest_rotation_vector_is_the_same_rotation_and_nearest(vector, near):
    found = nearest_rotation_vector(vector, near)
    same = angle_between(quaternion_from_rotation_vector(found), quaternion_from_rotation_vector(vector))
    assert same < 1e-6
    angle = np.linalg.norm(vector)
    if angle > 1e-3:
        for turns in (-2, -1, 1, 2):
            other = vector * (1 + turns * 2 * math.pi / angle)
            assert np.linalg.norm(found - near) <= np.linalg.norm(other - near) + 1e-9


def test_no_rotation_has_no_other_vector():
    assert nearest_rotation_vector(np.zeros(3), [3.0, 0.0, 0.0]).tolist() == [0.0, 0.0, 0.0]


def test_layout_is_that_of_a_real_libero_state():
    """Writing the pose a published state stands for gives the published numbers."""
    path = GOLDEN / "preprocess.npz"
    if not path.is_file():
        pytest.skip(f"no golden data: {path} is missing; point DREAM_VLA_GOLDEN at the folder that holds it")
    with np.load(path) as data:
        published = data["libero_state"]
    embodiment = robot("xyz_axis_angle_fingers")
    measured = state(
        embodiment,
        quaternion_from_rotation_vector(published[3:6]),
        published[:3],
        {"left": published[6], "right": published[7]},
    )
    assert ProprioWriter(embodiment)(measured, near=published) == pytest.approx(published, abs=1e-9)
