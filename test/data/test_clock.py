"""Tests for capture stamps that can and cannot be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.data.bag import TopicIndex
from dream_vla_ros.data.clock import ClockError, check_common_clock, usable_stamps
from dream_vla_ros.data.storage import StoredTopic

SECOND = 10**9


def index(stamps_s, lag_s=0.01, name="/camera"):
    stamps = np.round(np.array(stamps_s, dtype=float) * SECOND).astype(np.int64)
    lags = np.broadcast_to(np.asarray(lag_s, dtype=float), stamps.shape)
    logs = stamps + np.round(lags * SECOND).astype(np.int64)
    order = np.argsort(logs, kind="stable")
    places = np.zeros((len(stamps), 4), dtype=np.int64)
    return TopicIndex(StoredTopic(name, "sensor_msgs/msg/Image"), logs[order], stamps[order], places)


def test_messages_are_sorted_by_capture_not_by_arrival():
    found = usable_stamps(index([1.0, 1.1, 1.2], lag_s=[0.3, 0.01, 0.02]))
    assert found.stamps_ns.tolist() == [1_000_000_000, 1_100_000_000, 1_200_000_000]
    assert found.numbers.tolist() == [2, 0, 1]
    assert any("out of order" in note for note in found.notes)


def test_repeated_stamps_and_missing_ones_are_left_out_and_counted():
    source = index([1.0, 1.1, 1.1, 1.2])
    source.stamp_ns[0] = 0
    found = usable_stamps(source)
    assert found.stamps_ns.tolist() == [1_100_000_000, 1_200_000_000]
    assert any("1 messages without a stamp" in note for note in found.notes)
    assert any("1 messages repeat" in note for note in found.notes)


def test_a_topic_without_any_stamp_is_refused():
    source = index([1.0, 2.0])
    source.stamp_ns[:] = 0
    with pytest.raises(ClockError, match="/camera: no message has a capture stamp"):
        usable_stamps(source)


def test_single_odd_stamps_are_left_out():
    lag = np.full(100, 0.02)
    stamps = np.arange(100) * 0.1 + 10.0
    stamps[40] -= 9.0
    lag[40] += 9.0
    found = usable_stamps(index(stamps, lag))
    assert len(found.stamps_ns) == 99
    assert any("1 messages left out" in note for note in found.notes)


def test_a_clock_that_was_set_while_recording_is_refused():
    stamps = np.arange(100) * 0.1 + 100.0
    lag = np.where(np.arange(100) < 60, 0.02, 30.02)
    with pytest.raises(ClockError, match="its clock was set while recording"):
        usable_stamps(index(stamps - np.where(np.arange(100) < 60, 0.0, 30.0), lag))


@pytest.mark.parametrize("offset", [-3600.0, 0.0, 3600.0])
def test_a_bag_that_is_off_as_a_whole_does_no_harm(offset):
    streams = [
        usable_stamps(index(np.arange(1000.0, 1010.0), lag + offset, name))
        for name, lag in (("/camera", 0.1), ("/pose", 0.001))
    ]
    check_common_clock(streams, tolerance_s=0.05)


@pytest.mark.parametrize(("offset", "words"), [(5.0, "behind"), (-5.0, "ahead of"), (-0.4, "ahead of")])
def test_one_clock_that_is_off_is_named_with_its_correction(offset, words):
    stamps = np.arange(1000.0, 1010.0)
    good = [usable_stamps(index(stamps, 0.01, f"/good{number}")) for number in range(3)]
    bad = usable_stamps(index(stamps, 0.01 + offset, "/bad"))
    with pytest.raises(ClockError, match=rf"/bad: its clock is .* s {words}") as caught:
        check_common_clock([*good, bad], tolerance_s=0.05)
    correction = float(str(caught.value).rsplit("=", 1)[1])
    mended = usable_stamps(index(stamps, 0.01 + offset, "/bad"), correction)
    check_common_clock([*good, mended], tolerance_s=0.05)
