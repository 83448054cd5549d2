"""Axes and buttons of joysticks as a human's intent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.parameters import ParameterError
from dream_vla_ros.teleop.mapping import Device, Expression, JoyError, JoyMapping, JoyReader

PAD = [0.0] * 8
BUTTONS = [0] * 11


def pad(axes: dict[int, float] | None = None, *pressed: int) -> tuple[list[float], list[int]]:
    """Give a gamepad's numbers with some deflected and pressed."""
    return (
        [(axes or {}).get(index, 0.0) for index in range(8)],
        [int(index in pressed) for index in range(11)],
    )


def test_expressions_are_sums():
    expression = Expression.parse(" -a0 + b5 - b4")
    assert expression([0.25], [0, 0, 0, 0, 1, 0]) == -1.25
    assert Expression.parse("none")([], []) == 0.0


@pytest.mark.parametrize("text", ["a", "a0b1", "2*a0", "c3", "a0 +", "a-1", "+"])
def test_what_is_no_expression_is_refused(text: str):
    with pytest.raises(ValueError, match="not a sum"):
        Expression.parse(text)


def test_a_gamepads_sticks_are_the_six_motions():
    read = JoyReader(JoyMapping(dead_band=0.0))
    intent = read(*pad({1: 1.0, 0: -0.5, 4: 0.25, 3: 1.0, 7: -1.0, 6: 0.5}, 4))
    np.testing.assert_allclose(intent.motion, [1.0, -0.5, 0.25, -0.5, -1.0, 1.0])
    assert intent.dead_man
    assert not any((intent.open, intent.close, intent.toggle, intent.hand_back))


def test_an_expression_of_ones_own_replaces_the_devices():
    read = JoyReader(JoyMapping(x="-a5", dead_man="b9", open="none", dead_band=0.0))
    intent = read(*pad({5: -0.5, 1: 1.0}, 9, 1))
    assert intent.motion[0] == 0.5
    assert intent.dead_man
    assert not intent.open


def test_a_space_mouse_toggles_with_its_second_button():
    intent = JoyReader(JoyMapping(device=Device.SPACEMOUSE))([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [1, 1])
    assert intent.toggle
    assert intent.motion[2] == 1.0


def test_there_is_no_driving_without_a_dead_man_switch():
    with pytest.raises(ParameterError, match=r"joy\.dead_man"):
        JoyReader(JoyMapping(dead_man="none"))


def test_a_malformed_parameter_is_named():
    with pytest.raises(ParameterError, match=r"joy\.yaw"):
        JoyReader(JoyMapping(yaw="left stick"))


@pytest.mark.parametrize(
    ("axes", "buttons", "what"),
    [([0.0] * 3, BUTTONS, "3 axes"), (PAD, [0, 0], "2 buttons"), ([math.nan] * 8, BUTTONS, "nan")],
)
def test_what_a_joystick_cannot_mean_is_refused(axes: list[float], buttons: list[int], what: str):
    with pytest.raises(JoyError, match=what):
        JoyReader(JoyMapping())(axes, buttons)


@settings(deadline=None)
@given(value=st.floats(-2.0, 2.0), band=st.floats(0.0, 0.9))
def test_deflections_keep_sign_and_bounds_and_begin_at_the_dead_band(value: float, band: float):
    motion = JoyReader(JoyMapping(dead_band=band))(*pad({1: value})).motion
    assert abs(motion[0]) <= 1.0
    assert motion[0] * value >= 0.0
    assert (motion[0] == 0.0) == (min(abs(value), 1.0) <= band)
    assert not motion[1:].any()
