"""Tests of choosing images that are fresh and belong together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.embodiment import Timing
from dream_vla_ros.policy.frames import CameraBuffer, Frame, MissingInputError, newest_set

MS = 1_000_000
START = 1_000_000 * MS  # some moment in ROS time; the steady clock stands at another
STEADY = 77 * MS
TIMING = Timing(image_max_age=0.5, camera_max_skew=0.1, clock_tolerance=0.05)


def ros(ms):
    return START + round(ms * MS)


def steady(ms):
    return STEADY + round(ms * MS)


def camera(name="left", frames=(), timing=TIMING):
    """A camera whose frames (stamp in ms) each came 10 ms after capture."""
    buffer = CameraBuffer(name, f"/{name}/image", timing)
    for ms in frames:
        assert add(buffer, ms) == ""
    return buffer


def add(buffer, stamp_ms, now_ms=None):
    now_ms = stamp_ms + 10 if now_ms is None else now_ms
    return buffer.add(Frame(ros(stamp_ms), steady(now_ms), f"{buffer.name}@{stamp_ms}"), ros(now_ms))


def choose(*cameras, now_ms, newer_than_ms=None):
    newer_than = 0 if newer_than_ms is None else ros(newer_than_ms)
    frames = newest_set(cameras, ros(now_ms), steady(now_ms), newer_than)
    return {name: (frame.stamp_ns - START) // MS for name, frame in frames.items()}


def test_newest_of_one_camera():
    assert choose(camera(frames=[0, 66, 133]), now_ms=150) == {"left": 133}


def test_cameras_are_paired_by_time_not_by_order_of_arrival():
    left, right = camera("left", [0, 66, 133]), camera("right", [10, 76])
    assert choose(left, right, now_ms=150) == {"left": 66, "right": 76}


def test_a_camera_that_never_sent_is_named():
    with pytest.raises(MissingInputError, match="no image on '/right/image'"):
        choose(camera("left", [0]), camera("right"), now_ms=20)


def test_old_images_are_never_chosen():
    with pytest.raises(MissingInputError, match=r"'/left/image' is 0\.60 s old.*image_max_age 0\.5"):
        choose(camera(frames=[0]), now_ms=600)


def test_silence_counts_even_if_the_ros_clock_stands_still():
    left = camera(frames=[0])
    with pytest.raises(MissingInputError, match=r"is 0\.70 s old"):
        newest_set([left], ros(20), steady(10) + 700 * MS)


def test_cameras_too_far_apart_are_not_paired():
    left, right = camera("left", [0, 290]), camera("right", [150])
    with pytest.raises(MissingInputError, match=r"'/right/image'.*0\.140 s behind.*'/left/image'.*skew 0\.1"):
        choose(left, right, now_ms=310)


def test_partner_of_a_late_camera_may_itself_be_too_old():
    timing = Timing(image_max_age=0.2, camera_max_skew=0.1)
    left, right = camera("left", [0, 300], timing), camera("right", [95], timing)
    with pytest.raises(MissingInputError, match=r"'/left/image' that fits the others is 0\.29 s old"):
        choose(left, right, now_ms=290)


def test_an_image_is_not_predicted_from_twice():
    left = camera(frames=[0, 66])
    assert choose(left, now_ms=80, newer_than_ms=0) == {"left": 66}
    with pytest.raises(MissingInputError, match="no new image on '/left/image' since the last prediction"):
        choose(left, now_ms=80, newer_than_ms=66)


def test_stamps_from_the_future_are_refused_with_the_offset():
    left = camera(frames=[0])
    refusal = add(left, 300, now_ms=66)
    assert "/left/image: image is stamped 0.234 s in the future" in refusal
    assert left.counts.refused == 1
    assert choose(left, now_ms=100) == {"left": 0}
    with pytest.raises(MissingInputError, match=r"last refused: image is stamped 0\.234 s in the future"):
        choose(left, now_ms=700)


def test_a_future_stamp_does_not_block_later_images():
    left = camera(frames=[0])
    add(left, 5000, now_ms=50)
    assert add(left, 66) == ""
    assert choose(left, now_ms=80) == {"left": 66}


def test_stamps_slightly_ahead_are_allowed():
    assert add(camera(), 100, now_ms=60) == ""


def test_missing_stamp_is_refused():
    left = camera()
    assert "no stamp" in left.add(Frame(0, steady(0), ""), ros(0))


@pytest.mark.parametrize(("stamp", "complaint"), [(66, "stamp of the one before"), (30, "0.036 s before")])
def test_images_out_of_order_are_refused(stamp, complaint):
    left = camera(frames=[0, 66])
    assert complaint in add(left, stamp, now_ms=90)
    assert choose(left, now_ms=100) == {"left": 66}


def test_camera_whose_clock_was_set_back_is_heard_again():
    left = camera(frames=[20_000, 20_066])
    assert add(left, 15_000, now_ms=20_080) == ""
    assert add(left, 15_066, now_ms=20_140) == ""
    with pytest.raises(MissingInputError, match=r"5\.0. s old"):
        choose(left, now_ms=20_150)
    assert add(left, 20_150) == ""
    assert choose(left, now_ms=20_160) == {"left": 20_150}


def test_ros_clock_that_was_set_back_drops_what_came_before():
    left = camera(frames=[10_000])
    with pytest.raises(MissingInputError, match="no image"):
        choose(left, now_ms=1_000)
    assert add(left, 1_010) == ""
    assert choose(left, now_ms=1_020) == {"left": 1_010}


def test_an_image_that_cannot_be_decoded_is_dropped():
    left = camera(frames=[0, 66])
    bad = left.newest(ros(70), steady(70))
    left.refuse("damaged", bad)
    assert choose(left, now_ms=80) == {"left": 0}
    assert left.counts.refused == 1


def test_rate_is_measured_and_falls_to_zero_in_silence():
    left = camera(frames=range(0, 1000, 50))
    assert left.rate_hz(steady(1000)) == pytest.approx(20.0)
    assert left.rate_hz(steady(5000)) == 0.0
    assert camera(frames=[0]).rate_hz(steady(10)) == 0.0


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True).map(sorted),
    st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True).map(sorted),
    st.integers(0, 400),
)
def test_every_set_keeps_the_limits(left_ms, right_ms, newer_than):
    left, right = camera("left", left_ms), camera("right", right_ms)
    now = 430
    try:
        chosen = choose(left, right, now_ms=now, newer_than_ms=newer_than)
    except MissingInputError:
        chosen = None
    if chosen is not None:
        assert abs(chosen["left"] - chosen["right"]) <= 100
        assert newer_than < min(chosen.values())
        assert now - min(chosen.values()) <= 500
    newest = (left_ms[-1], right_ms[-1])
    if abs(newest[0] - newest[1]) <= 100 and min(newest) > newer_than + 100:
        assert chosen is not None
