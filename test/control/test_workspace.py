"""The workspace box."""

from __future__ import annotations

import numpy as np
from control_bench import embodiment
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.control.workspace import Box

POSITION = st.tuples(*[st.floats(-2.0, 2.0)] * 3).map(np.array)
BOX = Box.from_limits(
    embodiment(limits__workspace_min=[0.1, -0.4, 0.0], limits__workspace_max=[0.6, 0.4, 0.5]).limits
)


@given(POSITION)
def test_clamped_positions_are_inside_and_nearest(position: np.ndarray):
    clamped = BOX.clamp(position)
    assert np.all(clamped >= BOX.low)
    assert np.all(clamped <= BOX.high)
    inside = (position >= BOX.low) & (position <= BOX.high)
    np.testing.assert_array_equal(clamped[inside], position[inside])
    np.testing.assert_array_equal(BOX.clamp(clamped), clamped)


@given(POSITION, POSITION)
def test_from_outside_the_only_way_is_inwards(position: np.ndarray, wish: np.ndarray):
    reached = BOX.around(position).clamp(wish)
    for axis in range(3):
        if position[axis] > BOX.high[axis]:
            assert reached[axis] <= position[axis]
        elif position[axis] < BOX.low[axis]:
            assert reached[axis] >= position[axis]
        else:
            assert BOX.low[axis] <= reached[axis] <= BOX.high[axis]
