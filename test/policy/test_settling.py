"""Tests of noticing that a policy asks for no more motion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.settling import SettleDetector, SettleSettings

PERIOD_S = 0.2
STEPS = 8


def chunk(translation=0.0, rotation=0.0, gripper=1.0):
    """Motion of the same step again and again: m and rad per period."""
    return Motion(
        np.tile([translation, 0.0, 0.0], (STEPS, 1)),
        np.tile([0.0, rotation, 0.0], (STEPS, 1)),
        np.full(STEPS, gripper) if np.isscalar(gripper) else np.array(gripper),
    )


def detector(time=2.0):
    return SettleDetector(SettleSettings(time=time))


def watch(detector, chunks, interval_s=0.8):
    for index, motion in enumerate(chunks):
        detector.add(motion, PERIOD_S, 10.0 + index * interval_s)
    return detector


def test_settles_after_the_time_without_motion():
    watched = detector()
    for index in range(3):
        watched.add(chunk(), PERIOD_S, 10.0 + index * 0.8)
        assert not watched.settled
    watched.add(chunk(), PERIOD_S, 12.4)
    assert watched.settled
    assert watched.quiet_s == pytest.approx(2.4)


def test_one_chunk_never_settles():
    assert not watch(detector(time=0.001), [chunk()]).settled


def test_zero_time_never_settles():
    assert not watch(detector(time=0.0), [chunk()] * 100).settled


@pytest.mark.parametrize("moving", [chunk(translation=0.002), chunk(rotation=0.02), chunk(gripper=0.0)])
def test_motion_starts_the_wait_again(moving):
    assert not watch(detector(), [chunk()] * 3 + [moving] + [chunk()] * 3).settled
    assert watch(detector(), [moving] + [chunk()] * 5).settled


def test_gripper_that_moves_within_a_chunk_is_motion():
    closing = chunk(gripper=np.linspace(1.0, 0.0, STEPS))
    assert not watch(detector(), [closing] * 10).settled


def test_gripper_that_creeps_is_motion():
    """Each chunk is still in itself, but the opening drifts away from where the wait began."""
    creeping = [chunk(gripper=1.0 - 0.06 * index) for index in range(10)]
    assert not watch(detector(), creeping).settled


def test_motion_out_and_back_is_motion():
    back_and_forth = chunk()
    back_and_forth.translation[:4, 0] = 0.02
    back_and_forth.translation[4:, 0] = -0.02
    assert not watch(detector(), [back_and_forth] * 10).settled


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_noise_below_the_thresholds_settles(seed):
    rng = np.random.default_rng(seed)
    noisy = [
        Motion(
            rng.normal(0.0, 2e-4, (STEPS, 3)),
            rng.normal(0.0, 2e-3, (STEPS, 3)),
            rng.uniform(0.97, 1.0, STEPS),
        )
        for _ in range(4)
    ]
    assert watch(detector(), noisy).settled
