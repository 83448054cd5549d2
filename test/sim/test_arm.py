import numpy as np
import pytest

from dream_vla_ros.geometry import matrix_from_quaternion
from dream_vla_ros.sim.arm import ARM_JOINTS, EE_JOINT, GRIPPER_DOWN, gripper_down


def test_the_rest_orientation_is_bridges_default_rotation():
    assert np.allclose(matrix_from_quaternion(gripper_down()), GRIPPER_DOWN, atol=1e-12)
    assert np.allclose(GRIPPER_DOWN[:, 0], [0, 0, -1]), "the approach axis points down"
    assert np.allclose(GRIPPER_DOWN[:, 1], [0, 1, 0]), "the fingers open sideways"


@pytest.mark.parametrize("yaw", [-1.5, -0.3, 0.0, 0.8])
def test_yaw_turns_the_fingers_about_the_vertical(yaw):
    rotation = matrix_from_quaternion(gripper_down(yaw))
    assert np.allclose(rotation[:, 0], [0, 0, -1], atol=1e-12)
    assert np.allclose(rotation[:, 1], [-np.sin(yaw), np.cos(yaw), 0], atol=1e-12)


def test_link_lengths_are_the_published_ones():
    lengths = [np.linalg.norm(joint.origin) for joint in (*ARM_JOINTS, EE_JOINT)]
    # Waist and shoulder height, upper arm, both halves of the forearm, wrist, gripper of the WidowX 250.
    assert np.allclose(lengths, [0.072, 0.03865, np.hypot(0.04975, 0.25), 0.175, 0.075, 0.065, 0.1364])


def test_limits_hold_the_home_position():
    assert all(joint.lower < 0.0 < joint.upper and joint.max_speed > 0.0 for joint in ARM_JOINTS)
