"""Speed and acceleration limits: never broken, direction kept, stops where it should and before walls."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import embodiment
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.control.cone import Cone
from dream_vla_ros.control.limiter import Limiter
from dream_vla_ros.control.workspace import Box
from dream_vla_ros.geometry import Pose

LIMITS = embodiment(
    limits__linear_speed=0.25,
    limits__angular_speed=1.0,
    limits__linear_acceleration=2.0,
    limits__angular_acceleration=8.0,
).limits
PERIOD_S = 0.02
HERE = Pose.identity()
ANY = Cone.from_limits(LIMITS)
FREE = Box(np.full(3, -1e3), np.full(3, 1e3))
STOP_S = max(0.25 / 2.0, 1.0 / 8.0)
SMALL = st.floats(-0.08, 0.08)
ANGLE = st.floats(-0.4, 0.4)
WAY = st.tuples(SMALL, SMALL, SMALL).map(np.array)
TURN = st.tuples(ANGLE, ANGLE, ANGLE).map(np.array)


def check_step(limiter: Limiter, before: tuple[np.ndarray, np.ndarray]) -> None:
    assert np.linalg.norm(limiter.linear) <= LIMITS.linear_speed + 1e-9
    assert np.linalg.norm(limiter.angular) <= LIMITS.angular_speed + 1e-9
    assert np.linalg.norm(limiter.linear - before[0]) <= LIMITS.linear_acceleration * PERIOD_S + 1e-9
    assert np.linalg.norm(limiter.angular - before[1]) <= LIMITS.angular_acceleration * PERIOD_S + 1e-9


@given(WAY, TURN)
def test_it_lands_exactly_on_a_resting_place_along_a_straight_line(way: np.ndarray, turn: np.ndarray):
    limiter = Limiter(LIMITS, PERIOD_S)
    left, angle_left = way.copy(), turn.copy()
    for _ in range(200):
        before = limiter.linear, limiter.angular
        linear, angular, _ = limiter.approach(left, angle_left)
        limiter.change(linear, angular, HERE, FREE, ANY)
        check_step(limiter, before)
        left = left - limiter.linear * PERIOD_S
        angle_left = angle_left - limiter.angular * PERIOD_S
        # On the line, and never beyond its end.
        np.testing.assert_allclose(np.cross(left, way), 0.0, atol=1e-10)
        assert left @ way >= -1e-9
        if way @ way > 1e-12 and turn @ turn > 1e-12:
            assert (left @ way) / (way @ way) == pytest.approx((angle_left @ turn) / (turn @ turn), abs=1e-3)
        if limiter.at_rest:
            break
    assert limiter.at_rest
    np.testing.assert_allclose(left, 0.0, atol=1e-9)
    np.testing.assert_allclose(angle_left, 0.0, atol=1e-9)


def test_it_is_as_fast_as_the_limits_allow():
    limiter = Limiter(LIMITS, PERIOD_S)
    left, ticks = np.array([0.1, 0.0, 0.0]), 0
    while np.linalg.norm(left) > 1e-9:
        linear, angular, _ = limiter.approach(left, np.zeros(3))
        limiter.change(linear, angular, HERE, FREE, ANY)
        left = left - limiter.linear * PERIOD_S
        ticks += 1
    # 0.1 m at 0.25 m/s, and the braking time once for the two ramps together.
    assert ticks * PERIOD_S <= 0.1 / 0.25 + 0.125 + 2 * PERIOD_S


@given(st.lists(st.tuples(WAY, TURN), min_size=1, max_size=30))
def test_no_wish_breaks_a_limit_and_braking_takes_the_time_it_says(wishes):
    limiter = Limiter(LIMITS, PERIOD_S)
    for way, turn in wishes:
        before = limiter.linear, limiter.angular
        linear, angular, _ = limiter.approach(way, turn)
        limiter.change(linear, angular, HERE, FREE, ANY)
        check_step(limiter, before)
    assert limiter.braking_s <= STOP_S + 1e-9
    ticks = int(np.ceil(limiter.braking_s / PERIOD_S - 1e-9))
    direction = limiter.linear / max(np.linalg.norm(limiter.linear), 1e-12)
    for _ in range(ticks):
        before = limiter.linear, limiter.angular
        limiter.brake()
        check_step(limiter, before)
        np.testing.assert_allclose(np.cross(limiter.linear, direction), 0.0, atol=1e-9)
    assert limiter.at_rest


@settings(max_examples=150)
@given(
    st.lists(st.tuples(WAY, TURN), min_size=1, max_size=40),
    st.tuples(*[st.floats(0.0, 1.0)] * 3),
    st.floats(0.02, 0.3),
    st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_it_never_leaves_a_box_whatever_is_wished(wishes, start, width, brakes):
    box = Box(np.zeros(3), np.full(3, width))
    limiter = Limiter(LIMITS, PERIOD_S)
    position = np.array(start) * width
    for (way, turn), brake in zip(wishes, brakes, strict=False):
        before = limiter.linear, limiter.angular
        if brake:
            limiter.brake()
        else:
            linear, angular, _ = limiter.approach(way, turn)
            limiter.change(linear, angular, Pose(position, HERE.quaternion), box, ANY)
        check_step(limiter, before)
        position = position + limiter.linear * PERIOD_S
        assert np.all(position >= -1e-9)
        assert np.all(position <= width + 1e-9)


def test_nothing_to_do_is_no_motion():
    limiter = Limiter(LIMITS, PERIOD_S)
    linear, angular, capped = limiter.approach(np.zeros(3), np.zeros(3))
    assert not linear.any()
    assert not angular.any()
    assert not capped
    limiter.brake()
    assert limiter.at_rest
    assert limiter.braking_s == 0.0
