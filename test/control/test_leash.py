"""The leash between measured pose and target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.control.leash import Leash, Stretch
from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector

LEASH = Leash(0.05, 0.3)
NUMBER = st.floats(-1.0, 1.0)
POSES = st.builds(
    lambda p, r: Pose(np.array(p), quaternion_from_rotation_vector(np.array(r))),
    st.tuples(NUMBER, NUMBER, NUMBER),
    st.tuples(NUMBER, NUMBER, NUMBER),
)


@given(POSES, POSES)
def test_a_pulled_target_is_within_reach_and_on_the_way(target: Pose, measured: Pose):
    before = Stretch.between(measured, target)
    pulled = LEASH.pull(target, measured)
    after = Stretch.between(measured, pulled)
    assert after.distance == pytest.approx(min(before.distance, LEASH.distance), abs=1e-9)
    assert after.angle == pytest.approx(min(before.angle, LEASH.angle), abs=1e-7)
    moved = Stretch.between(target, pulled)
    assert moved.distance == pytest.approx(before.distance - after.distance, abs=1e-9)
    assert moved.angle == pytest.approx(before.angle - after.angle, abs=1e-6)


def test_it_holds_back_what_leads_out_and_lets_in_what_leads_back():
    assert not LEASH.holds_back(Stretch(0.01, 0.0), Stretch(0.049, 0.29))
    assert LEASH.holds_back(Stretch(0.049, 0.0), Stretch(0.051, 0.0))
    assert LEASH.holds_back(Stretch(0.0, 0.29), Stretch(0.0, 0.31))
    assert not LEASH.holds_back(Stretch(0.2, 0.9), Stretch(0.19, 0.89))


def test_it_is_taut_beyond_either_length():
    assert not LEASH.is_taut(Stretch(0.05, 0.3))
    assert LEASH.is_taut(Stretch(0.051, 0.0))
    assert LEASH.is_taut(Stretch(0.0, 0.301))
