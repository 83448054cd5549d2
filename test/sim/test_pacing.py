import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.sim.pacing import Pacer

PERIOD_S = 0.02


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, duration_s):
        assert duration_s > 0.0
        self.now += duration_s


def run(work_s):
    """Let a loop whose turns take these times go on; return its clock, what it gave up and when it began."""
    clock = Clock()
    pacer = Pacer(PERIOD_S, clock, clock.sleep)
    given_up = 0.0
    for work in work_s:
        clock.now += work
        given_up += pacer.wait()
    return clock.now - 100.0, given_up


@given(st.lists(st.floats(0.0, PERIOD_S), min_size=1, max_size=50))
def test_a_loop_that_is_fast_enough_keeps_real_time(work_s):
    elapsed, given_up = run(work_s)
    assert elapsed == pytest.approx(len(work_s) * PERIOD_S)
    assert given_up == 0.0


def test_a_short_delay_is_caught_up_with():
    elapsed, given_up = run([0.09] + [0.001] * 20)
    assert elapsed == pytest.approx(21 * PERIOD_S)
    assert given_up == 0.0


def test_a_long_delay_is_given_up_and_told():
    elapsed, given_up = run([1.0] + [0.001] * 20)
    assert given_up == pytest.approx(1.0 - PERIOD_S)
    assert elapsed == pytest.approx(21 * PERIOD_S + given_up)


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60))
def test_time_is_either_kept_or_accounted_for(work_s):
    elapsed, given_up = run(work_s)
    behind = elapsed - given_up - len(work_s) * PERIOD_S
    assert -1e-9 <= behind <= 0.1 + 1e-9
