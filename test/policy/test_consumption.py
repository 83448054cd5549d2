"""What was executed, from the controller's reports."""

from __future__ import annotations

import pytest

from dream_vla_ros.policy.consumption import Consumption, Report
from dream_vla_ros.policy.overlap import Overlap

SECOND = 1_000_000_000


def at(seconds: float) -> int:
    return round(seconds * SECOND)


def report(stamp_s: float, executed_s: float, chunk_id: int) -> Report:
    return Report(at(stamp_s), executed_s, chunk_id)


def executing(chunk_id: int = 1) -> Consumption:
    """The first chunk, captured at 10.0 s, published at 10.1 s and executed since."""
    made = Consumption()
    made.begin()
    made.hear(report(10.0, 0.0, 0))
    made.publish(1, at(10.0), 0.1)
    for tenth in range(6):
        made.hear(report(10.1 + tenth / 10, tenth / 10, chunk_id))
    return made


def close(overlap: Overlap | None, elapsed_s: float, delay_s: float) -> bool:
    assert overlap is not None
    return (overlap.elapsed_s, overlap.delay_s) == pytest.approx((elapsed_s, delay_s), abs=1e-6)


def test_before_anything_was_published_nothing_is_continued():
    made = Consumption()
    made.begin()
    assert made.overlap(at(10.0)) is None
    made.hear(report(10.0, 0.0, 0))
    assert made.overlap(at(10.0)) is None
    assert made.delay_s is None


def test_time_is_counted_while_the_arm_executed_not_while_it_stood():
    # The arm stood until 10.1 s; the latency of the first chunk stands in for a delay.
    assert close(executing().overlap(at(10.45)), 0.35, 0.1)
    # Beyond the newest report the arm goes on.
    assert close(executing().overlap(at(10.65)), 0.55, 0.1)


def test_the_delay_is_what_was_executed_between_capture_and_take_over():
    made = executing()
    made.publish(2, at(10.4), 0.3)
    made.hear(report(10.7, 0.6, 1))
    assert made.delay_s == pytest.approx(0.1)
    made.hear(report(10.8, 0.7, 2))
    # Captured when 0.3 s had been executed, taken over at 0.7 s.
    assert made.delay_s == pytest.approx(0.4)
    made.publish(3, at(10.9), 0.1)
    made.hear(report(11.0, 0.9, 3))
    assert made.delay_s == pytest.approx(0.4), "the largest of the last ones is expected"


def test_the_first_chunk_of_a_goal_is_no_measurement():
    made = executing()
    assert made.delay_s == pytest.approx(0.1)
    made.begin()
    assert made.delay_s is None
    made.publish(2, at(20.0), 0.25)
    made.hear(report(20.3, 0.02, 2))
    assert made.delay_s == pytest.approx(0.25)


def test_a_measured_delay_stays_known_for_the_next_goal():
    made = executing()
    made.publish(2, at(10.4), 0.3)
    made.hear(report(10.8, 0.7, 2))
    made.begin()
    assert made.delay_s == pytest.approx(0.4)
    assert made.overlap(at(11.0)) is None, "a new goal continues nothing of the one before"


def test_a_chunk_that_is_not_executed_is_not_continued():
    assert executing(chunk_id=0).overlap(at(10.5)) is None
    refused = executing()
    refused.publish(2, at(10.5), 0.1)
    refused.hear(report(10.7, 0.6, 1))
    assert refused.overlap(at(10.7)) is None


def test_without_fresh_reports_nothing_is_continued():
    assert executing().overlap(at(11.2)) is None


def test_reports_that_come_in_the_wrong_order_are_ignored():
    made = executing()
    made.hear(report(10.2, 5.0, 0))
    assert close(made.overlap(at(10.45)), 0.35, 0.1)
