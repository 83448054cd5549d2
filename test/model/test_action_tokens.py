"""Actions as tokens and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.model.action_tokens import ActionTokens

PUBLISHED = ActionTokens(151923, 256)
unit = st.floats(-1, 1, allow_nan=False)


@settings(deadline=None)
@given(unit, st.sampled_from([2, 16, 100, 256]))
def test_there_and_back_stays_within_a_bin(value, bins):
    tokens = ActionTokens(1000, bins)
    width = 2 / (bins - 1)
    token = tokens.encode(value)
    assert int(token) in tokens.ids
    assert abs(float(tokens.decode(token)) - value) <= width / 2 + 1e-12


@settings(deadline=None)
@given(unit, unit)
def test_larger_actions_have_smaller_ids(a, b):
    low, high = sorted((a, b))
    assert PUBLISHED.encode(high) <= PUBLISHED.encode(low)


@settings(deadline=None)
@given(st.floats(allow_nan=False))
def test_everything_is_clipped(value):
    assert int(PUBLISHED.encode(value)) in PUBLISHED.ids


def test_published_layout():
    assert PUBLISHED.ids == range(151667, 151923)
    assert PUBLISHED.encode([-1.0, 1.0]).tolist() == [151922, 151667]
    assert PUBLISHED.decode(151667) == PUBLISHED.decode(151668) == pytest.approx(1 - 1 / 255)


def test_every_centre_survives():
    again = PUBLISHED.decode(PUBLISHED.encode(PUBLISHED.centres))
    np.testing.assert_allclose(again, PUBLISHED.centres)


def test_words_decode_to_the_nearest_end():
    np.testing.assert_allclose(PUBLISHED.decode([5, 151999]), [PUBLISHED.centres[-1], PUBLISHED.centres[0]])
