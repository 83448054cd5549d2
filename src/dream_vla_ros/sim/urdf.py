"""The simulated arm as a URDF: kinematics only, from the same joint table as the MuJoCo model."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from dream_vla_ros.sim.arm import (
    ARM_JOINTS,
    BASE_LINK,
    EE_JOINT,
    FINGER_JOINTS,
    Joint,
    JointKind,
)

ROBOT_NAME = "tabletop_arm"


def robot_description() -> str:
    """Write the URDF of the simulated arm.

    :returns: XML text with the links, joints and limits, without masses and shapes: for forward kinematics
        and displays, not for dynamics and not for a real robot.
    """
    robot = ElementTree.Element("robot", name=ROBOT_NAME)
    robot.append(ElementTree.Comment("A simulated stand-in for a WidowX 250; never drive hardware with it."))
    joints = (*ARM_JOINTS, *FINGER_JOINTS, EE_JOINT)
    for link in (BASE_LINK, *(joint.child for joint in joints)):
        ElementTree.SubElement(robot, "link", name=link)
    for joint in joints:
        robot.append(_joint_element(joint))
    ElementTree.indent(robot)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(robot, encoding="unicode") + "\n"


def _joint_element(joint: Joint) -> ElementTree.Element:
    element = ElementTree.Element("joint", name=joint.name, type=joint.kind.value)
    ElementTree.SubElement(element, "parent", link=joint.parent)
    ElementTree.SubElement(element, "child", link=joint.child)
    ElementTree.SubElement(element, "origin", xyz=_numbers(joint.origin), rpy="0 0 0")
    if joint.kind is not JointKind.FIXED:
        ElementTree.SubElement(element, "axis", xyz=_numbers(joint.axis))
        ElementTree.SubElement(
            element,
            "limit",
            lower=repr(joint.lower),
            upper=repr(joint.upper),
            velocity=repr(joint.max_speed),
            effort=repr(joint.max_effort),
        )
    return element


def _numbers(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
