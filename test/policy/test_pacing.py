"""Tests of when the next chunk is predicted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.policy.pacing import LatencyWindow, Pacer

DURATION_S = 1.6
EXECUTE_S = 0.8


def paced(latencies=(), **arguments):
    pacer = Pacer(DURATION_S, EXECUTE_S, **arguments)
    for latency in latencies:
        pacer.start(0.0)
        pacer.finish(latency)
    pacer.start(100.0)
    return pacer


def test_first_prediction_is_due_at_once():
    assert Pacer(DURATION_S, EXECUTE_S).due_in_s(5.0) == 0.0


def test_fast_inference_rests_until_half_the_chunk_is_executed():
    pacer = paced([0.05])
    assert pacer.due_in_s(100.2) == pytest.approx(0.6)
    assert pacer.due_in_s(100.8) == 0.0


def test_slow_inference_is_called_earlier_so_that_no_gap_opens():
    assert paced([1.0]).interval_s == pytest.approx(0.5)
    assert paced([5.0]).interval_s == 0.0


def test_one_slow_prediction_among_fast_ones_counts():
    assert paced([0.1, 1.0, 0.1]).interval_s == pytest.approx(0.5)


def test_slow_prediction_is_forgotten_after_some_fast_ones():
    assert paced([1.0] + [0.1] * 5).interval_s == pytest.approx(EXECUTE_S)


def test_rate_limit_is_kept_whatever_the_latency():
    assert paced([5.0], min_interval_s=0.3).interval_s == pytest.approx(0.3)


def test_restart_makes_the_next_one_due_at_once_but_keeps_latencies():
    pacer = paced([1.0])
    pacer.restart()
    assert pacer.due_in_s(100.0) == 0.0
    assert pacer.interval_s == pytest.approx(0.5)


@given(
    st.floats(0.2, 10.0),
    st.floats(0.0, 1.0),
    st.lists(st.floats(0.0, 5.0), max_size=8),
    st.floats(0.0, 2.0),
)
def test_chunks_overlap_whenever_latency_allows(duration, share, latencies, rate_limit):
    pacer = Pacer(duration, duration * share, rate_limit)
    for latency in latencies:
        pacer.finish(latency)
    worst = max(latencies[-5:], default=0.0)
    assert pacer.interval_s >= rate_limit
    if rate_limit == 0.0 and worst < duration:
        assert pacer.interval_s + worst <= duration + 1e-9


def test_latencies_are_summed_up_over_the_newest():
    window = LatencyWindow(size=100)
    assert all(math.isnan(value) for value in window.percentiles())
    for _ in range(50):
        window.add(100.0)
    for value in range(100):
        window.add(value / 100)
    assert len(window) == 100
    assert window.percentiles() == pytest.approx((0.495, 0.9405))
