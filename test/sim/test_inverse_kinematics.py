import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose, angle_between
from dream_vla_ros.sim.arm import ARM_JOINTS, HOME_ANGLES, gripper_down
from dream_vla_ros.sim.inverse_kinematics import InverseKinematics

LOWER = np.array([joint.lower for joint in ARM_JOINTS])
UPPER = np.array([joint.upper for joint in ARM_JOINTS])
SPEED = np.array([joint.max_speed for joint in ARM_JOINTS])


@pytest.fixture(scope="module")
def kinematics():
    return InverseKinematics()


def test_home_is_gripper_down_over_the_table(kinematics):
    kinematics.reset(HOME_ANGLES)
    pose = kinematics.forward()
    assert np.allclose(pose.position, [0.25, 0.0, 0.18], atol=1e-5)
    assert angle_between(pose.quaternion, gripper_down()) < 1e-5


@settings(max_examples=25, deadline=None)
@given(st.floats(0.18, 0.39), st.floats(-0.2, 0.2), st.floats(0.015, 0.14), st.floats(-0.8, 0.8))
def test_every_pose_the_tasks_need_is_reached(kinematics, x, y, z, yaw):
    kinematics.reset(HOME_ANGLES)
    target = Pose(np.array([x, y, z]), gripper_down(yaw))
    angles = kinematics.solve(target)
    assert np.all((angles >= LOWER - 1e-9) & (angles <= UPPER + 1e-9))
    reached = kinematics.forward()
    assert np.allclose(reached.position, target.position, atol=2e-4)
    assert angle_between(reached.quaternion, target.quaternion) < 2e-3


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(-0.8, 0.8)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
)
def test_whatever_the_target_joints_stay_within_limits_and_speeds(kinematics, position, quaternion):
    kinematics.reset(HOME_ANGLES)
    target = Pose(np.array(position), np.array(quaternion))
    before = kinematics.angles
    for _ in range(40):
        after = kinematics.step(target, 0.02)
        assert np.all(np.isfinite(after))
        assert np.all((after >= LOWER - 1e-6) & (after <= UPPER + 1e-6))
        assert np.all(np.abs(after - before) <= SPEED * 0.02 + 1e-6)
        before = after


def test_out_of_reach_is_said(kinematics):
    kinematics.reset(HOME_ANGLES)
    with pytest.raises(ValueError, match="out of reach"):
        kinematics.solve(Pose(np.array([0.9, 0.0, 0.1]), gripper_down()))
