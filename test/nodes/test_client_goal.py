"""Tests of how a client judges that a goal can no longer come to an outcome."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.nodes.client.goal import (
    FORGOTTEN_AFTER_S,
    OVERDUE_AFTER_S,
    WATCH_PERIOD_S,
    PolicyWatch,
    SentGoal,
)
from dream_vla_ros.nodes.outcome import Outcome, Result

LOST_AFTER_S = 3.0


def run(goal, *, until, heartbeats=lambda now: True, named=lambda now: True, running=lambda now: True):
    """Step the watch at its period from 0 s on; return when and why the goal was given up, or None."""
    watch = PolicyWatch(LOST_AFTER_S)
    for tick in range(round(until / WATCH_PERIOD_S) + 1):
        now = tick * WATCH_PERIOD_S
        if heartbeats(now) and running(now):
            watch.heartbeat(now)
            if named(now):
                goal.last_named_at = now
        if running(now):
            watch.tick(now)
            if reason := watch.why_lost(goal, now):
                return now, reason
    return None


def test_a_goal_in_good_hands_is_never_given_up():
    assert run(SentGoal(bytes(16), accepted_at=0.0), until=120.0) is None


@given(st.floats(0.0, 30.0))
def test_silence_is_noticed_in_time(silent_from):
    given_up = run(
        SentGoal(bytes(16), accepted_at=0.0), until=60.0, heartbeats=lambda now: now <= silent_from
    )
    assert given_up is not None
    when, reason = given_up
    assert "no heartbeat" in reason
    assert (
        silent_from + LOST_AFTER_S - WATCH_PERIOD_S <= when <= silent_from + LOST_AFTER_S + 2 * WATCH_PERIOD_S
    )


def test_a_policy_that_never_beat_gets_its_time_from_acceptance():
    goal = SentGoal(bytes(16), accepted_at=20.0)
    when, _ = run(goal, until=60.0, heartbeats=lambda _: False)
    assert when == pytest.approx(20.0 + LOST_AFTER_S, abs=2 * WATCH_PERIOD_S)


def test_a_policy_that_no_longer_names_the_goal_was_restarted():
    goal = SentGoal(bytes(16), accepted_at=0.0)
    when, reason = run(goal, until=60.0, named=lambda now: now < 5.0)
    assert "restarted" in reason
    assert when == pytest.approx(5.0 + FORGOTTEN_AFTER_S, abs=2 * WATCH_PERIOD_S)


def test_a_policy_that_ignores_the_time_limit_is_given_up():
    goal = SentGoal(bytes(16), time_limit_s=8.0, accepted_at=0.0)
    when, reason = run(goal, until=60.0)
    assert "time limit of 8 s" in reason
    assert when == pytest.approx(8.0 + OVERDUE_AFTER_S, abs=2 * WATCH_PERIOD_S)


def test_own_suspension_is_not_blamed_on_the_policy():
    goal = SentGoal(bytes(16), accepted_at=0.0)
    assert run(goal, until=60.0, running=lambda now: not 10.0 < now < 40.0) is None


def test_silence_after_own_suspension_is_still_noticed():
    goal = SentGoal(bytes(16), accepted_at=0.0)
    given_up = run(
        goal,
        until=60.0,
        running=lambda now: not 10.0 < now < 40.0,
        heartbeats=lambda now: now <= 10.0,
    )
    assert given_up is not None
    assert given_up[0] == pytest.approx(40.0 + LOST_AFTER_S, abs=3 * WATCH_PERIOD_S)


@pytest.mark.parametrize(
    "goal",
    [
        SentGoal(bytes(16)),
        SentGoal(bytes(16), accepted_at=0.0, result=Result(Outcome.SETTLED)),
    ],
)
def test_only_a_running_goal_is_judged(goal):
    assert run(goal, until=60.0, heartbeats=lambda _: False) is None
