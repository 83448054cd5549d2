"""The dead-man switch."""

from __future__ import annotations

import pytest

from dream_vla_ros.control import Cause
from dream_vla_ros.control.dead_man import DeadMan

SECOND = 1_000_000_000


def test_none_required_is_never_a_problem():
    assert DeadMan(False, 0.2).problem(5 * SECOND) is None


@pytest.mark.parametrize(
    ("messages", "now_s", "words"),
    [
        ([], 0.0, "never heard"),
        ([(True, 0.0)], 0.2, None),
        ([(True, 0.0)], 0.21, "silent for 0.210 s"),
        ([(True, 0.0), (False, 0.1)], 0.1, "not held"),
        ([(False, 0.0), (True, 0.1)], 0.2, None),
    ],
)
def test_it_is_held_while_it_says_so(messages, now_s, words):
    switch = DeadMan(True, 0.2)
    for held, at_s in messages:
        switch.hear(held, round(at_s * SECOND))
    problem = switch.problem(round(now_s * SECOND))
    if words is None:
        assert problem is None
    else:
        assert problem.cause is Cause.DEAD_MAN
        assert words in problem.message
