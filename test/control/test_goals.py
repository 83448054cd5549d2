"""Which goal is active, from heartbeats."""

from __future__ import annotations

import math

from dream_vla_ros.control.goals import GoalKeeper

A, B, C = (bytes([n]) * 16 for n in (1, 2, 3))


def test_a_goal_begins_goes_on_and_ends():
    goals = GoalKeeper()
    assert goals.goal_id is None
    assert goals.silence_s(10**9) == math.inf
    assert goals.heartbeat(True, A, 0)
    assert goals.goal_id == A
    assert not goals.heartbeat(True, A, 10**9)
    assert goals.silence_s(3 * 10**9) == 2.0
    assert goals.heartbeat(False, bytes(16), 3 * 10**9)
    assert goals.goal_id is None
    assert not goals.heartbeat(False, bytes(16), 4 * 10**9)
    assert goals.silence_s(4 * 10**9) == 0.0


def test_a_newer_goal_replaces_the_older_which_never_comes_back():
    goals = GoalKeeper()
    goals.heartbeat(True, A, 0)
    assert goals.heartbeat(True, B, 1)
    assert not goals.heartbeat(True, A, 2)
    assert goals.goal_id == B


def test_a_late_heartbeat_of_an_ended_goal_neither_revives_it_nor_counts():
    goals = GoalKeeper()
    goals.heartbeat(True, A, 0)
    goals.heartbeat(False, bytes(16), 0)
    assert not goals.heartbeat(True, A, 10**9)
    assert goals.goal_id is None
    assert goals.silence_s(10**9) == 1.0


def test_a_dropped_or_refused_goal_never_becomes_active():
    goals = GoalKeeper()
    goals.heartbeat(True, A, 0)
    assert goals.drop() == A
    assert goals.drop() is None
    goals.refuse(B)
    assert not goals.heartbeat(True, A, 1)
    assert not goals.heartbeat(True, B, 1)
    assert goals.heartbeat(True, C, 1)
    assert goals.goal_id == C


def test_a_goal_of_zeros_is_none():
    goals = GoalKeeper()
    assert not goals.heartbeat(True, bytes(16), 0)
    assert goals.goal_id is None
    goals.heartbeat(True, A, 0)
    assert goals.heartbeat(True, bytes(16), 1)
    assert goals.goal_id is None


def test_memory_is_bounded():
    goals = GoalKeeper()
    for number in range(1, 2000):
        goals.heartbeat(True, number.to_bytes(16, "big"), number)
    assert len(goals._dropped) <= 256
    assert not goals.heartbeat(True, (1998).to_bytes(16, "big"), 0)
