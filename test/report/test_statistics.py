"""Tests of rates, jitter and percentiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.report.statistics import percentile, rate_statistics


def test_a_regular_stream_has_no_jitter():
    statistics = rate_statistics([i * 0.02 for i in range(101)], nominal_period_s=0.02)
    assert statistics.count == 101
    assert statistics.rate_hz == pytest.approx(50.0)
    assert statistics.jitter_p99_s == pytest.approx(0.0, abs=1e-12)
    assert statistics.longest_gap_s == pytest.approx(0.02)


def test_a_constant_error_of_the_period_is_jitter_against_the_nominal_only():
    times = [i * 0.021 for i in range(50)]
    assert rate_statistics(times, nominal_period_s=0.02).jitter_p99_s == pytest.approx(0.001)
    assert rate_statistics(times).jitter_p99_s == pytest.approx(0.0, abs=1e-12)


def test_one_gap_shows():
    times = [i * 0.02 for i in range(100)] + [3.0 + i * 0.02 for i in range(100)]
    assert rate_statistics(times, nominal_period_s=0.02).longest_gap_s == pytest.approx(3.0 - 99 * 0.02)


def test_what_lies_between_stretches_does_not_count():
    first, second = [i * 0.02 for i in range(100)], [50.0 + i * 0.02 for i in range(100)]
    statistics = rate_statistics(first, second, nominal_period_s=0.02)
    assert statistics.count == 200
    assert statistics.rate_hz == pytest.approx(50.0)
    assert statistics.longest_gap_s == pytest.approx(0.02)


@pytest.mark.parametrize("times", [[], [1.0]])
def test_too_few_give_no_rate(times):
    statistics = rate_statistics(times)
    assert statistics.count == len(times)
    assert math.isnan(statistics.rate_hz)
    assert math.isnan(statistics.jitter_p99_s)


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=50), st.randoms())
def test_order_does_not_matter(times, random):
    shuffled = list(times)
    random.shuffle(shuffled)
    np.testing.assert_equal(rate_statistics(times), rate_statistics(shuffled))


def test_percentile():
    assert percentile([1.0, 2.0, 3.0], 50.0) == 2.0
    assert math.isnan(percentile([], 50.0))
