"""Actions beyond the training data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.policy.actions import ActionError
from dream_vla_ros.policy.range_guard import RangeGuard, RangeResponse

MASK = np.array([True] * 6 + [False])
ACTIONS = st.lists(st.floats(-5.0, 5.0, width=32), min_size=7, max_size=7).map(
    lambda row: np.array([row, row], dtype=np.float32)
)


@given(ACTIONS, st.floats(0.0, 2.0))
def test_what_lies_within_stays_and_the_rest_comes_to_the_margin(actions, margin):
    limit = np.float32(1.0 + 2.0 * margin)
    kept, count = RangeGuard(margin, RangeResponse.CLIP, MASK)(actions)
    outside = (np.abs(actions) > 1.0 + 2.0 * margin) & MASK
    assert count == outside.sum()
    np.testing.assert_array_equal(kept[~outside], actions[~outside])
    np.testing.assert_allclose(np.abs(kept[outside]), limit, rtol=1e-6)
    np.testing.assert_array_equal(np.sign(kept), np.sign(actions))


def test_refusing_names_the_number():
    actions = np.zeros((4, 7), dtype=np.float32)
    guard = RangeGuard(0.25, RangeResponse.REFUSE, MASK)
    assert guard(actions)[1] == 0
    actions[2, 3] = -1.6
    with pytest.raises(ActionError, match=r"action 2 of 4 .* number 3 is -1\.60.* allows 1\.50"):
        guard(actions)
    actions[2, 3], actions[1, 6] = 0.0, 9.0
    assert guard(actions)[1] == 0, "the gripper is not normalised"
