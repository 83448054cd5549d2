"""What is left of a chunk when the next is predicted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.policy.overlap import Overlap, previous_chunk

PERIOD_S = 0.2
RAMP = np.arange(8, dtype=np.float32)[:, None] * np.ones((1, 7), dtype=np.float32)


@given(st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_rows_stand_where_the_new_actions_will(elapsed_s, delay_s):
    made = previous_chunk(RAMP, Overlap(elapsed_s, delay_s), PERIOD_S, None)
    position = elapsed_s / PERIOD_S
    if made is None:
        assert position > 7.0 - 1e-2
        return
    # Numbers that grow by one a step: interpolated motion is the position itself.
    np.testing.assert_allclose(made.actions[:, 0], position + np.arange(len(made.actions)), atol=2e-3)
    assert made.actions[-1, 0] <= 7.0 + 2e-3
    assert made.frozen == min(len(made.actions), max(1, int(np.ceil(delay_s / PERIOD_S - 1e-3))))


@pytest.mark.parametrize(("elapsed_s", "gripper"), [(0.2, 1.0), (0.29, 1.0), (0.31, 2.0)])
def test_the_gripper_is_never_averaged(elapsed_s, gripper):
    made = previous_chunk(RAMP, Overlap(elapsed_s, 0.0), PERIOD_S, 5.0)
    assert made is not None
    assert made.actions[0, 6] == gripper
    assert made.guidance_limit == 5.0


def test_the_actions_given_stay_as_they_are():
    kept = RAMP.copy()
    previous_chunk(RAMP, Overlap(0.3, 0.1), PERIOD_S, None)
    np.testing.assert_array_equal(RAMP, kept)
