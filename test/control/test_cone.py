"""The orientation cone."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
from control_bench import embodiment
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dream_vla_ros.control.cone import Cone
from dream_vla_ros.geometry import angle_between, quaternion_from_rotation_vector, quaternion_multiply
from dream_vla_ros.parameters import ParameterError

TURN = st.tuples(*[st.floats(-3.0, 3.0)] * 3).map(lambda v: quaternion_from_rotation_vector(np.array(v)))
ANGLE = st.floats(0.05, 3.0)


def cone(angle, tool=(0.0, 0.0, 1.0), axis=(0.0, 0.0, -1.0)):
    return Cone.from_limits(
        embodiment(
            limits__tool_axis=list(tool), limits__cone_axis=list(axis), limits__cone_angle=angle
        ).limits
    )


@settings(deadline=None)
@given(ANGLE, TURN)
def test_clamped_orientations_lie_inside_and_nearest(angle, quaternion):
    made = cone(angle)
    clamped = made.clamp(quaternion)
    assert made.holds(clamped)
    # The shortest way into the cone is the angle by which the tool sticks out of it.
    expected = max(0.0, made.tilt(quaternion) - angle)
    assert angle_between(quaternion, clamped) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(ANGLE, TURN)
def test_a_cone_around_an_orientation_holds_it_and_is_no_wider_than_needed(angle, quaternion):
    wider = cone(angle).around(quaternion)
    assert wider.holds(quaternion)
    assert wider.angle == max(angle, cone(angle).tilt(quaternion))


@settings(deadline=None)
@given(TURN, st.floats(-pi, pi))
def test_turning_about_the_tool_changes_no_tilt(quaternion, turn):
    made = cone(1.0)
    turned = quaternion_multiply(quaternion, quaternion_from_rotation_vector([0.0, 0.0, turn]))
    assert made.tilt(turned) == pytest.approx(made.tilt(quaternion), abs=1e-6)


@settings(deadline=None)
@given(TURN)
def test_an_open_cone_changes_nothing(quaternion):
    made = cone(pi)
    assert made.open
    assert made.clamp(quaternion) is quaternion


def test_a_tool_that_points_the_opposite_way_is_turned_in():
    made = cone(0.5)
    clamped = made.clamp(np.array([0.0, 0.0, 0.0, 1.0]))
    assert made.tilt(clamped) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["tool_axis", "cone_axis"])
def test_a_direction_without_length_is_refused(name):
    with pytest.raises(ParameterError, match=name):
        embodiment(**{f"limits__{name}": [0.0, 0.0, 0.0]})


@settings(deadline=None)
@given(ANGLE, TURN)
def test_axes_need_no_unit_length(angle, quaternion):
    assume(abs(cone(angle).tilt(quaternion) - angle) > 1e-9)
    assert cone(angle, (0, 0, 5.0), (0, 0, -0.1)).holds(quaternion) == cone(angle).holds(quaternion)
