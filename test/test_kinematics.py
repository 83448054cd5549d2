"""Forward kinematics against MuJoCo's own reading of the same URDF, and the errors of bad descriptions."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose, angle_between, normalize_quaternion
from dream_vla_ros.kinematics import ForwardKinematics, KinematicsError

TOLERANCE = 1e-9
LENGTH = st.floats(-0.5, 0.5)
ANGLE = st.floats(-3.1, 3.1)


@st.composite
def joint(draw: st.DrawFn) -> dict:
    axis = draw(st.tuples(LENGTH, LENGTH, LENGTH).filter(lambda v: np.linalg.norm(v) > 0.1))
    return {
        "type": draw(st.sampled_from(["revolute", "continuous", "prismatic", "fixed"])),
        "xyz": draw(st.tuples(LENGTH, LENGTH, LENGTH)),
        "rpy": draw(st.tuples(ANGLE, ANGLE, ANGLE)),
        "axis": axis,
        "position": draw(st.floats(-1.5, 1.5)),
    }


def words(values) -> str:
    return " ".join(f"{v:.17g}" for v in values)


def urdf(joints: list[dict], extra: str = "") -> str:
    inertial = (
        '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    )
    lines = ['<robot name="arm">']
    lines += [f'<link name="link_{i}">{inertial}</link>' for i in range(len(joints) + 1)]
    for i, j in enumerate(joints):
        lines.append(
            f'<joint name="joint_{i}" type="{j["type"]}">'
            f'<parent link="link_{i}"/><child link="link_{i + 1}"/>'
            f'<origin xyz="{words(j["xyz"])}" rpy="{words(j["rpy"])}"/><axis xyz="{words(j["axis"])}"/>'
            '<limit lower="-3" upper="3" effort="1" velocity="1"/></joint>'
        )
    return "\n".join([*lines, extra, "</robot>"])


def mujoco_pose(text: str, joints: list[dict]) -> Pose:
    compiler = '<mujoco><compiler fusestatic="false" eulerseq="XYZ" balanceinertia="true"/></mujoco>'
    model = mujoco.MjModel.from_xml_string(text.replace("</robot>", compiler + "</robot>"))
    data = mujoco.MjData(model)
    for i, j in enumerate(joints):
        if j["type"] != "fixed":
            data.joint(f"joint_{i}").qpos[0] = j["position"]
    mujoco.mj_kinematics(model, data)
    body = data.body(f"link_{len(joints)}")
    w, x, y, z = body.xquat
    return Pose(body.xpos, normalize_quaternion([x, y, z, w]))


@settings(max_examples=60, deadline=None)
@given(st.lists(joint(), min_size=1, max_size=7))
def test_pose_agrees_with_mujoco(joints: list[dict]):
    text = urdf(joints)
    chain = ForwardKinematics.from_urdf(text, "link_0", f"link_{len(joints)}")
    moving = tuple(f"joint_{i}" for i, j in enumerate(joints) if j["type"] != "fixed")
    assert chain.joint_names == moving

    pose = chain.pose({f"joint_{i}": j["position"] for i, j in enumerate(joints)})

    expected = mujoco_pose(text, joints)
    np.testing.assert_allclose(pose.position, expected.position, atol=TOLERANCE)
    assert angle_between(pose.quaternion, expected.quaternion) < 1e-7


def test_chain_may_start_in_the_middle():
    joints = [
        {"type": "revolute", "xyz": (0, 0, 1), "rpy": (0, 0, 0), "axis": (0, 0, 1)},
        {"type": "prismatic", "xyz": (1, 0, 0), "rpy": (0, 0, 0), "axis": (2, 0, 0)},
        {"type": "fixed", "xyz": (0, 1, 0), "rpy": (0, 0, 0), "axis": (1, 0, 0)},
    ]
    chain = ForwardKinematics.from_urdf(urdf(joints), "link_1", "link_3")
    assert chain.joint_names == ("joint_1",)
    np.testing.assert_allclose(chain.pose({"joint_1": 0.25}).position, [1.25, 1.0, 0.0])


def test_mimic_joint_follows_the_joint_it_names():
    joints = [
        {"type": "prismatic", "xyz": (0, 0, 0), "rpy": (0, 0, 0), "axis": (1, 0, 0)},
        {"type": "prismatic", "xyz": (0, 0, 0), "rpy": (0, 0, 0), "axis": (0, 1, 0)},
    ]
    text = urdf(joints)
    head, _, tail = text.rpartition("</joint>")
    text = head + '<mimic joint="joint_0" multiplier="-2" offset="0.5"/></joint>' + tail
    chain = ForwardKinematics.from_urdf(text, "link_0", "link_2")
    assert chain.joint_names == ("joint_0",)
    np.testing.assert_allclose(chain.pose({"joint_0": 0.1}).position, [0.1, 0.3, 0.0])


ONE = urdf([{"type": "revolute", "xyz": (0, 0, 1), "rpy": (0, 0, 0), "axis": (0, 0, 1)}])
ENTITY = '<?xml version="1.0"?><!DOCTYPE robot [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + ONE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not well-formed XML"),
        ("<robot>", "not well-formed XML"),
        ("<sdf/>", "starts with <sdf>, not <robot>"),
        (ENTITY, "document type declaration"),
        (ONE.replace("link_1", "hand"), "no link 'link_1' \\(the tip\\); it has hand, link_0"),
        (ONE.replace("link_0", "world"), "no link 'link_0' \\(the base\\)"),
        (ONE.replace('<parent link="link_0"/>', '<parent link="other"/>'), "does not carry link 'link_1'"),
        (ONE.replace('<parent link="link_0"/>', '<parent link="link_1"/>'), "run in a circle"),
        (ONE.replace('<parent link="link_0"/>', ""), "joint 'joint_0' has no <parent>"),
        (ONE.replace('type="revolute"', 'type="floating"'), "'joint_0' is of type 'floating'"),
        (ONE.replace('type="revolute"', ""), "<joint> .* has no attribute 'type'"),
        (ONE.replace('axis xyz="0 0 1"', 'axis xyz="0 0 0"'), "axis of length zero"),
        (ONE.replace('axis xyz="0 0 1"', 'axis xyz="0 0"'), "not three numbers"),
        (ONE.replace('origin xyz="0 0 1"', 'origin xyz="0 0 nan"'), "xyz of joint 'joint_0' is 'nan'"),
        (ONE.replace("</joint>", '<mimic joint="no"/></joint>'), "mimics joint 'no', which does not exist"),
        (ONE.replace("</joint>", '<mimic joint="joint_0"/></joint>'), "mimic each other"),
    ],
)
def test_a_bad_description_is_refused_with_its_cause(text: str, message: str):
    with pytest.raises(KinematicsError, match=message):
        ForwardKinematics.from_urdf(text, "link_0", "link_1")


def test_bad_joint_positions_are_refused_with_their_joint():
    chain = ForwardKinematics.from_urdf(ONE, "link_0", "link_1")
    with pytest.raises(KinematicsError, match="no position for joint 'joint_0'"):
        chain.pose({"other": 1.0})
    with pytest.raises(KinematicsError, match="joint 'joint_0' is nan"):
        chain.pose({"joint_0": float("nan")})
