"""Tests for leaving out idle time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.data.idle import IdleRule, Trim, keep
from dream_vla_ros.policy.actions import Motion

PERIOD_S = 0.2


def motion(moving: list[bool], gripper: list[float] | None = None, turning: bool = False) -> Motion:
    steps = np.zeros((len(moving), 3))
    steps[:, 0] = np.where(moving, 0.01, 1e-6)
    still = np.zeros_like(steps)
    grip = np.array(gripper if gripper is not None else [1.0] * len(moving))
    return Motion(still if turning else steps, steps if turning else still, grip)


patterns = st.lists(st.booleans(), min_size=1, max_size=40)


@given(patterns, st.integers(0, 5), st.sampled_from(Trim), st.booleans())
def test_no_motion_is_ever_dropped(moving, after, trim, turning):
    kept = keep(motion(moving, turning=turning), PERIOD_S, IdleRule(trim, keep_after=after))
    assert np.all(kept[np.array(moving)])


@given(patterns, st.integers(0, 5))
def test_trimmed_ends_leave_one_unbroken_piece(moving, after):
    kept = keep(motion(moving), PERIOD_S, IdleRule(Trim.ENDS, keep_after=after))
    if not any(moving):
        assert not kept.any()
        return
    first, last = moving.index(True), len(moving) - 1 - moving[::-1].index(True)
    expected = [first <= index <= last + after for index in range(len(moving))]
    assert kept.tolist() == expected


@given(patterns)
def test_all_idle_frames_can_go(moving):
    kept = keep(motion(moving), PERIOD_S, IdleRule(Trim.ALL))
    assert kept.tolist() == moving


def test_a_gripper_that_is_told_something_new_is_not_idle():
    still = motion([False] * 6, gripper=[1, 1, 1, 0, 0, 0])
    kept = keep(still, PERIOD_S, IdleRule(Trim.ENDS, keep_after=1))
    assert kept.tolist() == [False, False, False, True, True, False]


@pytest.mark.parametrize("speed", [0.04, 0.06])
def test_the_threshold_is_a_speed(speed):
    # 0.01 m in 0.2 s are 0.05 m/s.
    kept = keep(motion([True] * 4), PERIOD_S, IdleRule(speed=speed))
    assert kept.all() == (speed < 0.05)
