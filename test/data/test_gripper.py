"""Tests for reading gripper commands off the fingers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.data.gripper import MOVED, command_from_opening


def test_fingers_that_stop_at_an_object_were_told_to_close():
    openings = [1.0, 1.0, 0.8, 0.6, 0.55, 0.55, 0.55, 0.7, 1.0, 1.0]
    assert command_from_opening(openings).tolist() == [1, 1, 0, 0, 0, 0, 0, 1, 1, 1]


def test_a_gripper_that_begins_closed_was_told_so():
    assert command_from_opening([0.0, 0.0, 0.3, 0.9]).tolist() == [0, 0, 1, 1]
    assert command_from_opening([]).tolist() == []


@given(st.lists(st.floats(0.0, 0.99 * MOVED), min_size=1, max_size=40), st.booleans())
def test_giving_way_and_noise_are_no_commands(noise, opened):
    # What stays within the threshold of where it is held.
    values = (1.0 - np.array(noise)) if opened else np.array(noise)
    assert np.all(command_from_opening(values) == float(opened))


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_commands_are_open_or_close_and_agree_with_full_strokes(openings):
    command = command_from_opening(openings)
    assert set(np.unique(command)) <= {0.0, 1.0}
    for before, after, told in zip(openings[:-1], openings[1:], command[1:], strict=True):
        if after - before >= MOVED:
            assert told == 1.0
        elif before - after >= MOVED:
            assert told == 0.0
