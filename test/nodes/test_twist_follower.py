"""Velocities for drivers that take nothing else: bounded, without lasting error, at rest with the target."""

from __future__ import annotations

import numpy as np
from adapter_bench import TARGET, TICK_S, command
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.control import Mode
from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Pose, rotation_between
from dream_vla_ros.nodes.adapters.twist_follower import TwistFollower

LIMITS = Limits(linear_speed=0.2, angular_speed=1.0, linear_acceleration=2.0, angular_acceleration=10.0)
ROUNDING = 1e-9
VECTOR = st.tuples(*[st.floats(-0.3, 0.3)] * 3).map(np.array)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VECTOR, VECTOR, VECTOR, st.booleans()), min_size=1, max_size=20))
def test_speed_and_acceleration_stay_within_the_limits(ticks: list):
    follower = TwistFollower(LIMITS, TICK_S)
    before = np.zeros(3), np.zeros(3)
    for linear, angular, error, executing in ticks:
        linear, angular = follower.follow(
            command(
                linear=linear,
                angular=angular,
                measured=TARGET.moved(-error, -error),
                mode=Mode.EXECUTING if executing else Mode.HOLDING,
            )
        )
        assert np.linalg.norm(linear) <= LIMITS.linear_speed + ROUNDING
        assert np.linalg.norm(angular) <= LIMITS.angular_speed + ROUNDING
        assert np.linalg.norm(linear - before[0]) <= LIMITS.linear_acceleration * TICK_S + ROUNDING
        assert np.linalg.norm(angular - before[1]) <= LIMITS.angular_acceleration * TICK_S + ROUNDING
        before = linear, angular


def test_a_slipping_driver_is_caught_up_with():
    """A driver that does only 80 % of what it is told ends up where the target is, not 20 % behind."""
    follower = TwistFollower(LIMITS, TICK_S)
    pose, target = TARGET, TARGET
    velocity, turning = np.array([0.08, 0.0, 0.0]), np.array([0.0, 0.0, 0.4])
    for tick in range(150):
        moving = tick < 100
        linear, angular = (velocity, turning) if moving else (np.zeros(3), np.zeros(3))
        target = target.moved(linear * TICK_S, angular * TICK_S)
        sent = follower.follow(command(linear=linear, angular=angular, target=target, measured=pose))
        pose = pose.moved(0.8 * sent[0] * TICK_S, 0.8 * sent[1] * TICK_S)
    assert np.linalg.norm(target.position - TARGET.position) > 0.15
    assert np.linalg.norm(target.position - pose.position) < 0.005
    assert np.linalg.norm(rotation_between(pose.quaternion, target.quaternion)) < 0.02


def test_an_arm_at_a_hold_is_not_drawn_along():
    follower = TwistFollower(LIMITS, TICK_S)
    behind = Pose(TARGET.position - [0.04, 0.0, 0.0], TARGET.quaternion)
    still = np.zeros(3)
    linear, angular = follower.follow(
        command(mode=Mode.HOLDING, linear=still, angular=still, measured=behind)
    )
    assert not linear.any()
    assert not angular.any()
