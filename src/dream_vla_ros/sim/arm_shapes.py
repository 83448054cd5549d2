"""What the links of the simulated arm look like: primitive shapes for each, in the link's own frame."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from dream_vla_ros.sim.arm import (
    BASE_LINK,
    EE_JOINT,
    FINGER_JOINTS,
    FINGER_THICKNESS_M,
    FINGER_WIDTH_M,
    FINGERTIP_BEYOND_EE_M,
)

Point = tuple[float, float, float]
Shape = dict[str, Any]

# Fingers, palm and blocks touch each other and the table; the rest of the arm is for the eye, since the
# workspace keeps it clear of everything.
TOUCH = {"contype": 1, "conaffinity": 1}
_EYE = {"contype": 0, "conaffinity": 0}

_DARK = {"rgba": (0.13, 0.13, 0.15, 1.0)}
_METAL = {"rgba": (0.36, 0.37, 0.40, 1.0)}
_PAD = {"rgba": (0.78, 0.78, 0.80, 1.0)}
_RUBBER_FRICTION = (1.5, 0.02, 0.001)


def box(start: Point, end: Point) -> Shape:
    """Describe a box between two opposite corners [m]."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    return {"type": mujoco.mjtGeom.mjGEOM_BOX, "pos": (low + high) / 2, "size": (high - low) / 2}


def _cylinder(start: Point, end: Point, radius: float) -> Shape:
    return {"type": mujoco.mjtGeom.mjGEOM_CYLINDER, "fromto": [*start, *end], "size": [radius, 0.0, 0.0]}


def _finger(side: float) -> Shape:
    tip = EE_JOINT.origin[0] - FINGER_JOINTS[0].origin[0] + FINGERTIP_BEYOND_EE_M
    half = FINGER_WIDTH_M / 2
    shape = box((-0.042, 0.0, -half), (tip, side * FINGER_THICKNESS_M, half))
    return {**shape, **_PAD, **TOUCH, "mass": 0.03, "friction": _RUBBER_FRICTION}


def _dark(shape: Shape, mass: float) -> Shape:
    return {**shape, **_DARK, **_EYE, "mass": mass}


def _metal(shape: Shape, mass: float) -> Shape:
    return {**shape, **_METAL, **_EYE, "mass": mass}


LINK_SHAPES: dict[str, list[Shape]] = {
    BASE_LINK: [
        _dark(box((-0.075, -0.065, 0.0), (0.075, 0.065, 0.02)), 0.3),
        _metal(_cylinder((0.0, 0.0, 0.02), (0.0, 0.0, 0.045), 0.05), 0.3),
    ],
    "shoulder_link": [
        _dark(box((-0.04, -0.035, -0.027), (0.04, 0.035, 0.03)), 0.3),
        _metal(_cylinder((0.0, -0.045, 0.03865), (0.0, 0.045, 0.03865), 0.026), 0.2),
    ],
    "upper_arm_link": [
        _dark(box((-0.02, -0.024, 0.0), (0.02, 0.024, 0.268)), 0.3),
        _dark(box((0.02, -0.022, 0.232), (0.05, 0.022, 0.268)), 0.1),
        _metal(_cylinder((0.04975, -0.036, 0.25), (0.04975, 0.036, 0.25), 0.022), 0.1),
    ],
    "upper_forearm_link": [_dark(box((0.0, -0.022, -0.02), (0.165, 0.022, 0.02)), 0.25)],
    "lower_forearm_link": [
        _metal(_cylinder((-0.01, 0.0, 0.0), (0.05, 0.0, 0.0), 0.019), 0.08),
        _metal(_cylinder((0.075, -0.03, 0.0), (0.075, 0.03, 0.0), 0.019), 0.05),
    ],
    "wrist_link": [_dark(box((0.0, -0.02, -0.02), (0.06, 0.02, 0.02)), 0.08)],
    "gripper_link": [
        _metal(_cylinder((-0.005, 0.0, 0.0), (0.03, 0.0, 0.0), 0.022), 0.05),
        {**box((0.028, -0.052, -0.018), (0.052, 0.052, 0.018)), **_DARK, **TOUCH, "mass": 0.08},
        _metal(box((0.005, -0.016, 0.03), (0.03, 0.016, 0.05)), 0.02),
    ],
    "left_finger_link": [_finger(1.0)],
    "right_finger_link": [_finger(-1.0)],
}
