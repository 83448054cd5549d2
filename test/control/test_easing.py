"""Velocity between the steps of a chunk: gradual, and leading to the same place."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import chunk
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.control.easing import eased

NUMBER = st.floats(-0.05, 0.05)
VECTOR = st.tuples(NUMBER, NUMBER, NUMBER)
PERIOD = st.sampled_from([0.02, 0.05, 1 / 15, 0.1, 0.2, 1 / 3, 1.0])


@given(st.lists(VECTOR, min_size=1, max_size=8), PERIOD, st.floats(0.0, 1.0), st.floats(0.0, 0.99))
def test_the_motion_from_the_beginning_on_is_the_same(steps, period_s, width_s, share):
    made = chunk(0, steps, steps, steps=len(steps), period_s=period_s)
    whole = eased(made, width_s)
    assert whole.duration_s == pytest.approx(made.duration_s)
    np.testing.assert_allclose(whole.translation.sum(axis=0), made.translation.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(whole.rotation.sum(axis=0), made.rotation.sum(axis=0), atol=1e-12)

    parts = len(whole) // len(made)
    first = int(share * len(whole))
    rest = eased(made, width_s, first * whole.period_s)
    raw = np.repeat(made.translation / parts, parts, axis=0)
    np.testing.assert_allclose(rest.translation[first:].sum(axis=0), raw[first:].sum(axis=0), atol=1e-12)


@given(st.lists(VECTOR, min_size=2, max_size=8), st.sampled_from([0.04, 0.1, 0.2]))
def test_no_velocity_is_higher_than_before_and_none_jumps(steps, width_s):
    made = chunk(0, steps, steps=len(steps), period_s=0.2)
    fine = eased(made, width_s)
    speeds = np.linalg.norm(fine.translation, axis=1) / fine.period_s
    assert speeds.max() <= np.linalg.norm(made.translation, axis=1).max() / 0.2 + 1e-12
    jump = np.linalg.norm(np.diff(made.translation, axis=0), axis=1).max() / 0.2
    changes = np.linalg.norm(np.diff(fine.translation, axis=0), axis=1) / fine.period_s
    averaged = max(1, 2 * int((width_s / fine.period_s + 1e-9 + 1) / 2) - 1)
    assert changes.max() <= jump / averaged + 1e-12


def test_in_the_middle_of_each_step_the_motion_has_come_as_far():
    made = chunk(0, [(0.01 * k**2, 0, 0) for k in range(5)], steps=5, period_s=0.2)
    fine = eased(made, 0.1)
    way = np.cumsum(fine.translation[:, 0])
    before = np.concatenate([[0.0], np.cumsum(made.translation[:, 0])])
    for step in range(5):
        middle = before[step] + made.translation[step, 0] / 2.0
        assert way[10 * step + 4] == pytest.approx(middle)


def test_the_gripper_keeps_its_steps_and_little_width_leaves_all_alone():
    made = chunk(0, gripper=[1.0, 0.0, 0.5], steps=3, period_s=0.2)
    np.testing.assert_array_equal(eased(made, 0.1).gripper, np.repeat([1.0, 0.0, 0.5], 10))
    assert eased(made, 0.0) is made
    assert eased(made, 0.05) is made
    quick = chunk(0, steps=3, period_s=0.005)
    assert eased(quick, 0.1) is quick


def test_numbers_at_the_edge_of_what_there_is_stay_finite():
    top = np.finfo(float).max
    made = chunk(0, [(top, -top, top), (-top, top, top)], steps=2, period_s=0.2)
    assert np.isfinite(eased(made, 0.2).translation).all()
