"""Executed action time against ROS time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.control.history import ActionHistory

PERIOD_S = 0.02
PERIOD_NS = 20_000_000


def history(shares: list[float], start_ns: int = 1000 * PERIOD_NS) -> ActionHistory:
    made = ActionHistory(PERIOD_S, horizon_s=2.0)
    for index, share in enumerate(shares):
        made.record(start_ns + index * PERIOD_NS, share * PERIOD_S)
    return made


def test_nothing_was_executed_at_first():
    assert ActionHistory(PERIOD_S, 2.0).since(0) == 0.0


def test_time_passes_as_long_as_something_is_executed():
    made = history([1.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    start_ns = 1000 * PERIOD_NS
    assert made.since(start_ns) == pytest.approx(4 * PERIOD_S)
    assert made.since(start_ns + 2 * PERIOD_NS) == pytest.approx(2 * PERIOD_S)
    assert made.since(start_ns + 3 * PERIOD_NS) == pytest.approx(PERIOD_S)
    assert made.since(start_ns + 4 * PERIOD_NS) == pytest.approx(PERIOD_S)
    assert made.since(start_ns + 6 * PERIOD_NS) == pytest.approx(0.0)


def test_a_moment_between_ticks_counts_the_part_that_is_left():
    made = history([1.0, 1.0])
    assert made.since(1000 * PERIOD_NS + PERIOD_NS // 4) == pytest.approx(1.75 * PERIOD_S)
    assert made.since(1001 * PERIOD_NS + PERIOD_NS // 2) == pytest.approx(0.5 * PERIOD_S)


def test_moments_before_the_beginning_count_everything():
    assert history([1.0, 0.5]).since(0) == pytest.approx(1.5 * PERIOD_S)


def test_a_late_tick_executes_nothing_in_the_gap():
    made = ActionHistory(PERIOD_S, 2.0)
    made.record(0, PERIOD_S)
    made.record(10 * PERIOD_NS, PERIOD_S)
    assert made.since(PERIOD_NS) == pytest.approx(PERIOD_S)
    assert made.since(9 * PERIOD_NS) == pytest.approx(PERIOD_S)
    assert made.since(PERIOD_NS // 2) == pytest.approx(1.5 * PERIOD_S)


def test_an_early_tick_executes_its_share_in_less_time():
    made = ActionHistory(PERIOD_S, 2.0)
    made.record(0, PERIOD_S)
    made.record(PERIOD_NS // 2, 0.0)
    assert made.since(PERIOD_NS // 4) == pytest.approx(0.5 * PERIOD_S)
    assert made.since(PERIOD_NS // 2) == pytest.approx(0.0)


def test_a_clock_put_back_a_little_counts_as_standing():
    made = ActionHistory(PERIOD_S, 2.0)
    made.record(100 * PERIOD_NS, PERIOD_S)
    made.record(99 * PERIOD_NS, PERIOD_S)
    assert made.since(99 * PERIOD_NS) == pytest.approx(2 * PERIOD_S)
    assert made.since(101 * PERIOD_NS) == pytest.approx(0.0)


def test_after_the_clock_was_set_nothing_before_counts():
    made = history([1.0] * 5)
    made.forget_times()
    assert made.since(0) == 0.0
    made.record(50, PERIOD_S)
    assert made.since(0) == pytest.approx(PERIOD_S)
    made.clear()
    assert made.since(0) == made.total_s == 0.0


@given(
    shares=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60),
    moments=st.lists(st.floats(-2.0, 70.0), min_size=2, max_size=2),
)
def test_executed_time_never_runs_backwards_nor_faster_than_the_clock(shares, moments):
    made = history(shares)
    earlier, later = sorted(round((1000 + m) * PERIOD_NS) for m in moments)
    since_earlier, since_later = made.since(earlier), made.since(later)
    assert 0.0 <= since_later <= since_earlier + 1e-12
    assert since_earlier <= sum(shares) * PERIOD_S + 1e-12
    assert since_earlier - since_later <= (later - earlier) * 1e-9 + 1e-12


def test_memory_is_bounded():
    made = history([1.0] * 10_000)
    assert len(made._stamps) < 500
    assert made.since(10_999 * PERIOD_NS) == pytest.approx(PERIOD_S)
    assert made.since(10_900 * PERIOD_NS) == pytest.approx(100 * PERIOD_S)
