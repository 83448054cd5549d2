"""The integrator: where the target goes, and what holds it back."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import CENTRE, embodiment

from dream_vla_ros.control.integrator import Integrator
from dream_vla_ros.control.timeline import Advance
from dream_vla_ros.geometry import Pose, angle_between, quaternion_from_rotation_vector

PERIOD_S = 0.02
STOP_S = 0.2
LIMITS = embodiment(
    limits__linear_speed=0.25,
    limits__linear_acceleration=2.0,
    limits__angular_speed=1.0,
    limits__angular_acceleration=8.0,
    limits__linear_jerk=1e9,
    limits__angular_jerk=1e9,
    limits__leash_distance=0.05,
    limits__leash_angle=0.3,
    limits__workspace_min=[0.1, -0.4, 0.02],
    limits__workspace_max=[0.6, 0.4, 0.5],
).limits
AT_SPEED = 0.2


def integrator(start: Pose = CENTRE) -> Integrator:
    made = Integrator(LIMITS, PERIOD_S, STOP_S)
    made.settle_on(start)
    return made


def stretch(translation=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0)) -> Advance:
    return Advance(
        np.array(translation, dtype=float),
        quaternion_from_rotation_vector(rotation),
        PERIOD_S,
        1.0,
        0,
        False,
    )


def speed_up(made: Integrator, direction=(1.0, 0.0, 0.0), ticks: int = 15) -> None:
    step = stretch(np.array(direction) * AT_SPEED * PERIOD_S)
    for _ in range(ticks):
        made.follow(step, made.target)


def test_before_the_first_state_there_is_no_target():
    made = Integrator(LIMITS, PERIOD_S, STOP_S)
    assert made.target is None
    motion = made.hold(None)
    assert not motion.linear.any()
    assert made.target is None


def test_it_follows_with_little_lag_and_lands_on_the_whole_motion():
    made = integrator()
    speed_up(made)
    led = 15 * AT_SPEED * PERIOD_S
    lag = led - (made.target.position - CENTRE.position)[0]
    assert 0.0 <= lag <= AT_SPEED**2 / (2 * LIMITS.linear_acceleration) + 1e-9
    ticks = 0
    while not made.at_rest:
        made.hold(CENTRE)
        ticks += 1
    assert ticks * PERIOD_S <= STOP_S
    np.testing.assert_allclose(made.target.position - CENTRE.position, [led, 0, 0], atol=1e-9)


def test_braking_gives_up_the_rest():
    made = integrator()
    speed_up(made)
    before = made.target.position[0]
    made.brake()
    ticks = 0
    while not made.at_rest:
        made.hold(None)
        ticks += 1
    assert ticks == 5
    # Speeds 0.16, 0.12, 0.08, 0.04, 0 over 20 ms each.
    assert made.target.position[0] - before == pytest.approx(0.4 * PERIOD_S)
    made.hold(None)
    assert made.at_rest


@pytest.mark.parametrize("ticks", [0, 1, 3])
def test_motion_that_comes_during_a_brake_goes_on_without_turning_back(ticks: int):
    made = integrator()
    speed_up(made)
    before = made.target.position[0]
    made.brake()
    for _ in range(ticks):
        made.hold(None)
    positions = []
    for _ in range(10):
        made.follow(stretch((0.0, 0.0, 0.0)), made.target)
        positions.append(made.target.position[0])
    assert np.all(np.diff(positions) >= -1e-9)
    assert made.at_rest
    # As far as the brake alone, and nothing of the motion that was given up.
    assert positions[-1] - before == pytest.approx(0.4 * PERIOD_S)


def test_a_landing_that_would_take_too_long_becomes_a_brake():
    made = integrator()
    speed_up(made)
    speed_up(made, (-1.0, 0.0, 0.0), ticks=3)
    ticks = 0
    while not made.at_rest:
        made.hold(made.target)
        ticks += 1
    assert ticks * PERIOD_S <= STOP_S + 1e-9


def test_motion_after_a_hold_goes_on_from_the_target():
    made = integrator()
    speed_up(made)
    made.brake()
    while not made.at_rest:
        made.hold(None)
    held = made.target.position
    step = stretch((0.0, 0.001, 0.0))
    for _ in range(10):
        made.follow(step, made.target)
    while not made.at_rest:
        made.hold(made.target)
    np.testing.assert_allclose(made.target.position - held, [0, 0.01, 0], atol=1e-9)


def test_an_anchor_moves_the_start_without_a_jump():
    made = integrator()
    sagged = CENTRE.moved([0.0, 0.0, -0.01], [0.0, 0.02, 0.0])
    made.anchor(sagged)
    before = made.target
    motion = made.follow(stretch((0.001, 0.0, 0.0)), sagged)
    assert np.linalg.norm(motion.linear) <= LIMITS.linear_acceleration * PERIOD_S + 1e-9
    np.testing.assert_allclose(made.target.position, before.position + motion.linear * PERIOD_S)
    while not made.at_rest:
        made.hold(sagged)
    np.testing.assert_allclose(made.target.position - sagged.position, [0.001, 0, 0], atol=1e-9)
    assert angle_between(made.target.quaternion, sagged.quaternion) < 1e-7


def test_a_moving_target_is_not_anchored():
    made = integrator()
    speed_up(made)
    made.anchor(CENTRE)
    while not made.at_rest:
        made.hold(made.target)
    led = [15 * AT_SPEED * PERIOD_S, 0, 0]
    np.testing.assert_allclose(made.target.position - CENTRE.position, led, atol=1e-9)


def test_the_leash_makes_it_wait_for_a_stuck_arm():
    made = integrator()
    step = stretch((AT_SPEED * PERIOD_S, 0.0, 0.0))
    taken = 0
    for _ in range(100):
        motion = made.follow(step, CENTRE)
        taken += motion.advanced
        assert motion.leash_limited == (not motion.advanced)
    assert taken == int(LIMITS.leash_distance / (AT_SPEED * PERIOD_S))
    assert (made.target.position - CENTRE.position)[0] <= LIMITS.leash_distance + 1e-9
    assert made.at_rest
    # Back towards the arm is always free.
    assert made.follow(stretch((-0.001, 0.0, 0.0)), CENTRE).advanced


def test_the_leash_holds_rotation_too():
    made = integrator()
    for _ in range(100):
        made.follow(stretch(rotation=(0.0, 0.0, 0.02)), CENTRE)
    assert angle_between(made.target.quaternion, CENTRE.quaternion) <= LIMITS.leash_angle + 1e-7


def test_a_resting_target_gives_way_to_an_arm_that_is_pushed():
    made = integrator()
    pushed = CENTRE.moved([0.1, 0.0, 0.0], [0.0, 0.0, 0.5])
    for _ in range(60):
        motion = made.hold(pushed)
        assert np.linalg.norm(motion.linear) <= LIMITS.linear_speed + 1e-9
    assert made.at_rest
    assert np.linalg.norm(made.target.position - pushed.position) == pytest.approx(0.05, abs=1e-9)
    assert angle_between(made.target.quaternion, pushed.quaternion) == pytest.approx(0.3, abs=1e-7)


def test_without_a_measured_pose_a_resting_target_stays():
    made = integrator()
    made.hold(None)
    np.testing.assert_array_equal(made.target.position, CENTRE.position)


def test_a_wall_stops_the_motion_into_it_and_nothing_else():
    made = integrator(Pose(np.array([0.35, 0.0, 0.03]), CENTRE.quaternion))
    for _ in range(20):
        motion = made.follow(stretch((0.002, 0.0, -0.002)), made.target)
    assert motion.workspace_limited
    while not made.at_rest:
        made.hold(made.target)
    np.testing.assert_allclose(made.target.position, [0.35 + 0.04, 0.0, 0.02], atol=1e-9)


def test_from_outside_the_box_it_comes_in_and_never_goes_further_out():
    start = Pose(np.array([0.35, 0.0, 0.6]), CENTRE.quaternion)
    made = integrator(start)
    for _ in range(20):
        made.follow(stretch((0.001, 0.0, 0.002)), made.target)
    assert made.target.position[2] == 0.6
    assert made.target.position[0] > 0.36
    for _ in range(30):
        made.follow(stretch((0.0, 0.0, -0.002)), made.target)
    came = made.target.position[2]
    assert came < 0.56
    for _ in range(30):
        made.follow(stretch((0.0, 0.0, 0.002)), made.target)
        assert made.target.position[2] <= came + 0.01
