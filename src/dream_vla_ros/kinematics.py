"""Forward kinematics of a serial chain described by a URDF."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

import numpy as np

from dream_vla_ros.geometry import Array, Pose, quaternion_from_rotation_vector, quaternion_from_rpy

_TURNING = ("revolute", "continuous")
_MOVING = (*_TURNING, "prismatic")


class KinematicsError(ValueError):
    """A robot description or joint positions no pose can be computed from; the message says why."""


@dataclass(frozen=True)
class Joint:
    """One ``<joint>`` of the description.

    :param origin: Pose of the joint in its parent link.
    :param axis: (3,) unit vector in the joint's frame.
    :param source: Joint whose position moves this one: itself, or the one it mimics.
    :param lower: Lower limit [rad or m]; minus infinity where there is none.
    :param upper: Upper limit [rad or m]; infinity where there is none.
    :param velocity: Largest speed [rad/s or m/s]; infinity where none is given.
    """

    name: str
    kind: str
    parent: str
    child: str
    origin: Pose
    axis: Array
    source: str
    multiplier: float
    offset: float
    lower: float
    upper: float
    velocity: float


@dataclass(frozen=True)
class Stage:
    """A constant pose followed by one moving joint.

    :param fixed: (4, 4) homogeneous transform.
    """

    fixed: Array
    joint: Joint


class ForwardKinematics:
    """Pose of one link in another as a function of joint positions.

    :param stages: Moving joints from base to tip, each after the constant pose that leads to it.
    :param last: (4, 4) constant pose after the last moving joint.
    """

    def __init__(self, stages: list[Stage], last: Array, base: str, tip: str) -> None:
        self.stages = tuple(stages)
        self.last = last
        self.base = base
        self.tip = tip
        self.joint_names = tuple(dict.fromkeys(stage.joint.source for stage in stages))

    @classmethod
    def from_urdf(cls, urdf: str, base: str, tip: str) -> ForwardKinematics:
        """Read the chain between two links.

        :param urdf: The robot description, XML text.
        :param base: Link the pose is expressed in; must carry the tip.
        :param tip: Link whose pose is computed.
        :raises KinematicsError: If the text is no URDF, or a link or joint is missing or of an unknown type.
        """
        robot = _parse(urdf)
        links = {_required(link, "name") for link in robot.findall("link")}
        for role, link in (("base", base), ("tip", tip)):
            if link not in links:
                raise KinematicsError(
                    f"the robot description has no link '{link}' (the {role}); "
                    f"it has {', '.join(sorted(links)) or 'none'}"
                )
        elements = {_required(element, "name"): element for element in robot.findall("joint")}
        by_child: dict[str, ElementTree.Element] = {}
        for name, element in elements.items():
            child = _required(_child(element, "child", name), "link")
            if child in by_child:
                raise KinematicsError(
                    f"link '{child}' hangs from two joints: '{by_child[child].get('name')}' and '{name}'"
                )
            by_child[child] = element

        chain: list[Joint] = []
        link = tip
        while link != base:
            if link not in by_child:
                raise KinematicsError(
                    f"link '{base}' does not carry link '{tip}': the chain ends at '{link}'"
                )
            if len(chain) > len(elements):
                raise KinematicsError(f"the joints above link '{tip}' run in a circle")
            joint = _read_joint(by_child[link], elements)
            chain.append(joint)
            link = joint.parent

        stages: list[Stage] = []
        fixed = np.eye(4)
        for joint in reversed(chain):
            fixed = fixed @ joint.origin.matrix
            if joint.kind in _MOVING:
                stages.append(Stage(fixed, joint))
                fixed = np.eye(4)
        return cls(stages, fixed, base, tip)

    def pose(self, positions: Mapping[str, float]) -> Pose:
        """Compute the pose of the tip in the base.

        :param positions: Joint names to rad (turning) or m (sliding); further joints are ignored.
        :raises KinematicsError: If a joint of the chain is missing or its position not finite.
        """
        matrix = np.eye(4)
        for stage in self.stages:
            joint = stage.joint
            value = positions.get(joint.source)
            if value is None:
                raise KinematicsError(f"no position for joint '{joint.source}' of the robot description")
            if not math.isfinite(value):
                raise KinematicsError(f"position of joint '{joint.source}' is {value}")
            value = joint.multiplier * value + joint.offset
            motion = np.eye(4)
            if joint.kind in _TURNING:
                motion[:3, :3] = Pose(
                    np.zeros(3), quaternion_from_rotation_vector(joint.axis * value)
                ).rotation
            else:
                motion[:3, 3] = joint.axis * value
            matrix = matrix @ stage.fixed @ motion
        return Pose.from_matrix(matrix @ self.last)


def _parse(urdf: str) -> ElementTree.Element:
    # A document type may define entities that expand without end or read other files; a URDF needs none.
    def refuse(*_: object) -> None:
        raise KinematicsError("the robot description has a document type declaration, which is not allowed")

    scan = expat.ParserCreate()
    scan.StartDoctypeDeclHandler = refuse
    try:
        scan.Parse(urdf, True)
        robot = ElementTree.fromstring(urdf)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, TypeError) as error:
        if isinstance(error, KinematicsError):
            raise
        raise KinematicsError(f"the robot description is not well-formed XML: {error}") from error
    if robot.tag != "robot":
        raise KinematicsError(f"the robot description starts with <{robot.tag}>, not <robot>")
    return robot


def _read_joint(element: ElementTree.Element, elements: Mapping[str, ElementTree.Element]) -> Joint:
    name = _required(element, "name")
    kind = _required(element, "type")
    if kind not in (*_MOVING, "fixed"):
        raise KinematicsError(
            f"joint '{name}' is of type '{kind}'; a chain can have {', '.join(_MOVING)}, fixed"
        )
    origin = element.find("origin")
    xyz = _numbers(origin, "xyz", "0 0 0", name)
    rpy = _numbers(origin, "rpy", "0 0 0", name)
    axis = _numbers(element.find("axis"), "xyz", "1 0 0", name)
    length = float(np.linalg.norm(axis))
    if kind in _MOVING and length < 1e-9:
        raise KinematicsError(f"joint '{name}' has an axis of length zero")
    source, multiplier, offset = _resolve_mimic(name, elements)
    lower, upper, velocity = _read_limits(element, name, kind)
    return Joint(
        name,
        kind,
        _required(_child(element, "parent", name), "link"),
        _required(_child(element, "child", name), "link"),
        Pose(xyz, quaternion_from_rpy(rpy)),
        axis / length if length > 0.0 else axis,
        source,
        multiplier,
        offset,
        lower,
        upper,
        velocity,
    )


def _read_limits(element: ElementTree.Element, joint: str, kind: str) -> tuple[float, float, float]:
    limit = element.find("limit")
    if limit is None or kind not in _MOVING:
        return -math.inf, math.inf, math.inf
    velocity = _number(limit.get("velocity", "0"), f"velocity limit of joint '{joint}'")
    lower = _number(limit.get("lower", "0"), f"lower limit of joint '{joint}'")
    upper = _number(limit.get("upper", "0"), f"upper limit of joint '{joint}'")
    if kind == "continuous":
        lower, upper = -math.inf, math.inf
    return lower, upper, velocity if velocity > 0.0 else math.inf


def _resolve_mimic(name: str, elements: Mapping[str, ElementTree.Element]) -> tuple[str, float, float]:
    multiplier, offset = 1.0, 0.0
    seen = [name]
    while (mimic := elements[name].find("mimic")) is not None:
        followed = _required(mimic, "joint")
        if followed not in elements:
            raise KinematicsError(f"joint '{name}' mimics joint '{followed}', which does not exist")
        if followed in seen:
            raise KinematicsError(f"joints {', '.join(seen)} mimic each other in a circle")
        own_multiplier = _number(mimic.get("multiplier", "1"), f"mimic multiplier of joint '{name}'")
        offset += multiplier * _number(mimic.get("offset", "0"), f"mimic offset of joint '{name}'")
        multiplier *= own_multiplier
        name = followed
        seen.append(name)
    return name, multiplier, offset


def _child(element: ElementTree.Element, tag: str, joint: str) -> ElementTree.Element:
    found = element.find(tag)
    if found is None:
        raise KinematicsError(f"joint '{joint}' has no <{tag}>")
    return found


def _required(element: ElementTree.Element, attribute: str) -> str:
    value = element.get(attribute)
    if not value:
        raise KinematicsError(f"a <{element.tag}> of the robot description has no attribute '{attribute}'")
    return value


def _numbers(element: ElementTree.Element | None, attribute: str, default: str, joint: str) -> Array:
    text = default if element is None else element.get(attribute, default)
    what = f"{attribute} of joint '{joint}'"
    values = np.array([_number(word, what) for word in text.split()])
    if values.shape != (3,):
        raise KinematicsError(f"{what} is '{text}', not three numbers")
    return values


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise KinematicsError(f"{what} is '{text}', not a number")
    return value
