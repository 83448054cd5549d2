from xml.etree import ElementTree

import mujoco
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.geometry import matrix_from_quaternion
from dream_vla_ros.kinematics import ForwardKinematics
from dream_vla_ros.sim.arm import (
    ARM_JOINTS,
    BASE_LINK,
    EE_LINK,
    FINGER_JOINTS,
    JointKind,
)
from dream_vla_ros.sim.scene import build_arm_spec
from dream_vla_ros.sim.urdf import robot_description

TOLERANCE_M = 1e-6
MODEL = build_arm_spec().compile()
MOVING = (*ARM_JOINTS, *FINGER_JOINTS)


def urdf_transforms(urdf, positions):
    """Walk the tree of a URDF by its definition: every link's homogeneous transform in the base."""
    transforms = {BASE_LINK: np.eye(4)}
    for joint in ElementTree.fromstring(urdf).findall("joint"):
        xyz = [float(v) for v in joint.find("origin").get("xyz").split()]
        assert joint.find("origin").get("rpy") == "0 0 0"
        step = np.eye(4)
        step[:3, 3] = xyz
        if joint.get("type") != "fixed":
            axis = np.array([float(v) for v in joint.find("axis").get("xyz").split()])
            value = positions[joint.get("name")]
            if joint.get("type") == "revolute":
                cross = np.cross(np.eye(3), axis)
                step[:3, :3] = np.eye(3) + np.sin(value) * cross + (1 - np.cos(value)) * cross @ cross
            else:
                step[:3, 3] += axis * value
        parent = joint.find("parent").get("link")
        transforms[joint.find("child").get("link")] = transforms[parent] @ step
    return transforms


@given(st.tuples(*(st.floats(joint.lower, joint.upper) for joint in MOVING)))
def test_the_urdf_and_the_simulated_arm_put_every_link_in_the_same_place(values):
    positions = {joint.name: value for joint, value in zip(MOVING, values, strict=True)}
    data = mujoco.MjData(MODEL)
    for name, value in positions.items():
        data.joint(name).qpos[0] = value
    mujoco.mj_kinematics(MODEL, data)

    links = urdf_transforms(robot_description(), positions)
    tip = ForwardKinematics.from_urdf(robot_description(), BASE_LINK, EE_LINK).pose(positions)

    for joint in MOVING:
        body = data.body(joint.child)
        assert np.allclose(links[joint.child][:3, 3], body.xpos, atol=TOLERANCE_M, rtol=0)
        assert np.allclose(links[joint.child][:3, :3], body.xmat.reshape(3, 3), atol=TOLERANCE_M, rtol=0)
    site = data.site(EE_LINK)
    assert np.allclose(links[EE_LINK][:3, 3], site.xpos, atol=TOLERANCE_M, rtol=0)
    assert np.allclose(tip.position, site.xpos, atol=TOLERANCE_M, rtol=0)
    assert np.allclose(
        matrix_from_quaternion(tip.quaternion), site.xmat.reshape(3, 3), atol=TOLERANCE_M, rtol=0
    )


def test_limits_are_those_of_the_simulated_joints():
    for element in ElementTree.fromstring(robot_description()).findall("joint"):
        if element.get("type") == JointKind.FIXED.value:
            continue
        limit = element.find("limit")
        assert np.allclose(
            [float(limit.get("lower")), float(limit.get("upper"))], MODEL.joint(element.get("name")).range
        )


def test_it_says_that_it_is_no_real_robot():
    assert "never drive hardware" in robot_description()
