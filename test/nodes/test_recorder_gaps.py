"""What the numbers of messages tell of those that never came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from dream_vla_ros.nodes.recorder.gaps import Gaps

ONE, OTHER = b"one", b"other"


def offered(*publishers: bytes) -> Gaps:
    gaps = Gaps()
    gaps.offered_by(publishers)
    return gaps


@given(st.sets(st.integers(1, 300), min_size=1))
def test_every_message_between_the_first_and_the_last_is_received_or_missed(numbers: set[int]):
    gaps = offered(ONE)
    missed = sum(gaps.missed_before(number) for number in sorted(numbers))
    assert missed + len(numbers) == max(numbers) - min(numbers) + 1


def test_a_publisher_that_begins_anew_misses_nothing():
    gaps = offered(ONE)
    assert [gaps.missed_before(number) for number in (7, 9, 1, 2, 4)] == [0, 1, 0, 0, 1]
    gaps.offered_by([OTHER])
    assert gaps.missed_before(100) == 0
    assert gaps.missed_before(103) == 2


def test_several_publishers_cannot_be_counted():
    gaps = offered(ONE, OTHER)
    assert [gaps.missed_before(number) for number in (7, 900, 8)] == [0, 0, 0]
    assert not gaps.countable
    gaps.offered_by([ONE])
    assert [gaps.missed_before(number) for number in (9, 11)] == [0, 1]
    assert gaps.countable


def test_middleware_that_does_not_number_messages_is_not_counted():
    gaps = offered(ONE)
    assert gaps.missed_before(None) == 0
    assert not gaps.countable
