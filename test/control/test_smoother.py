"""The jerk limit: kept whatever comes, with nothing lost and nothing added."""

from __future__ import annotations

import itertools

import numpy as np
from control_bench import embodiment
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.control.smoother import Smoother, smoothing_ticks

PERIOD_S = 0.02
VECTORS = st.tuples(*[st.floats(-1.0, 1.0)] * 3).map(np.array)


@settings(deadline=None)
@given(st.floats(0.1, 20.0), st.floats(0.1, 1e5), st.floats(0.1, 50.0), st.floats(0.1, 1e5))
def test_the_window_is_the_shortest_that_keeps_both_limits(acceleration, jerk, turning, turning_jerk):
    limits = embodiment(
        limits__linear_acceleration=acceleration,
        limits__linear_jerk=jerk,
        limits__angular_acceleration=turning,
        limits__angular_jerk=turning_jerk,
    ).limits
    ticks = smoothing_ticks(limits, PERIOD_S)
    pairs = ((acceleration, jerk), (turning, turning_jerk))
    if ticks > 1:
        assert all(2.0 * a / (ticks * PERIOD_S) <= j * (1.0 + 1e-9) for a, j in pairs)
        assert any(2.0 * a / ((ticks - 1) * PERIOD_S) > j for a, j in pairs)


@settings(deadline=None)
@given(st.integers(1, 8), st.lists(VECTORS, max_size=30))
def test_motion_comes_out_whole_and_no_harsher_than_it_went_in(ticks, twists):
    smoother = Smoother(ticks)
    padded = [np.zeros(3), *twists, *[np.zeros(3)] * ticks]
    out = [smoother.push(twist, -twist) for twist in padded]
    np.testing.assert_allclose(sum(linear for linear, _ in out), sum(padded), atol=1e-9)
    for linear, angular in out:
        np.testing.assert_allclose(angular, -linear)
    assert smoother.at_rest
    steps_in = [float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(padded)]
    results = [linear for linear, _ in out]
    steps_out = [float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(results)]
    assert max(steps_out, default=0.0) <= max(steps_in, default=0.0) + 1e-12
    changes = [
        np.linalg.norm(c - 2 * b + a) for a, b, c in zip(results, results[1:], results[2:], strict=False)
    ]
    assert max(changes, default=0.0) <= 2.0 * max(steps_in, default=0.0) / ticks + 1e-12


def test_it_is_at_rest_only_when_everything_came_out():
    smoother = Smoother(3)
    smoother.push(np.ones(3), np.zeros(3))
    smoother.push(np.zeros(3), np.zeros(3))
    smoother.push(np.zeros(3), np.zeros(3))
    assert not smoother.at_rest
    smoother.push(np.zeros(3), np.zeros(3))
    assert smoother.at_rest
    smoother.push(np.ones(3), np.zeros(3))
    smoother.halt()
    assert smoother.at_rest
