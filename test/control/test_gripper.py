"""What the gripper is told."""

from __future__ import annotations

import itertools

import pytest
from control_bench import embodiment
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.control.gripper import Gripper
from dream_vla_ros.parameters import ParameterError

PERIOD_S = 0.02


def gripper(**rules):
    values = {f"gripper__{name}": value for name, value in rules.items()}
    return Gripper(embodiment(**values).gripper, PERIOD_S)


def told(made, wishes):
    return [made.ask(wish).opening for wish in wishes]


def test_continuous_openings_pass_within_their_range():
    assert told(gripper(mode="continuous"), [0.3, 1.7, -0.2]) == [0.3, 1.0, 0.0]


def test_between_the_thresholds_nothing_changes():
    made = gripper(dwell=0.0)
    assert told(made, [1.0, 0.5, 0.41, 0.4, 0.5, 0.59, 0.6]) == [1, 1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(("first", "state"), [(0.49, 0.0), (0.51, 1.0)])
def test_the_first_state_is_the_nearer_one_at_once(first, state):
    command = gripper(dwell=1.0).ask(first)
    assert (command.opening, command.changed) == (state, True)


def test_a_wish_shorter_than_the_dwell_is_not_heard():
    made = gripper(dwell=0.06)
    made.ask(1.0)
    assert told(made, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]) == [1, 1, 1, 1, 1, 0]


def test_what_is_held_back_is_said_and_edges_come_once():
    made = gripper(dwell=0.04)
    made.ask(1.0)
    commands = [made.ask(0.0) for _ in range(4)]
    assert [c.held_back for c in commands] == [True, False, False, False]
    assert [c.changed for c in commands] == [False, True, False, False]


def test_a_sticky_state_stays_whatever_is_asked_for():
    made = gripper(dwell=0.0, sticky=0.1)
    made.ask(0.0)
    assert told(made, [1.0] * 6) == [0, 0, 0, 0, 1, 1]


def test_a_hold_keeps_the_state_and_forgets_the_wish():
    made = gripper(dwell=0.04)
    assert made.hold().opening is None
    made.ask(1.0)
    made.ask(0.0)
    assert made.hold().opening == 1.0
    assert made.ask(0.0).opening == 1.0
    assert made.ask(0.0).opening == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(-2.0, 3.0), max_size=60), st.floats(0.0, 0.2), st.floats(0.0, 0.3))
def test_states_are_two_and_never_closer_in_time_than_dwell_and_stickiness(wishes, dwell, sticky):
    made = gripper(dwell=dwell, sticky=sticky)
    commands = [made.ask(wish) for wish in wishes]
    edges = [tick for tick, command in enumerate(commands) if command.changed]
    assert {command.opening for command in commands} <= {0.0, 1.0}
    for earlier, later in itertools.pairwise(edges):
        assert (later - earlier) * PERIOD_S >= max(sticky, dwell) - 1e-9
        assert commands[earlier].opening != commands[later].opening


def test_thresholds_that_cross_are_refused():
    with pytest.raises(ParameterError, match=r"gripper\.close_below 0\.7 is not below gripper\.open_above"):
        gripper(close_below=0.7)
