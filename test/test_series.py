"""Tests for interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dream_vla_ros.geometry import angle_between, quaternion_from_rotation_vector
from dream_vla_ros.series import Poses, Values, bracket, nearest, slerp

stamps = st.lists(st.integers(0, 10_000), min_size=1, max_size=30, unique=True).map(
    lambda times: np.array(sorted(times), dtype=np.int64)
)
times = hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(-100, 10_100))


@given(stamps, times)
def test_nearest_is_nearest(samples, at):
    found = nearest(samples, at)
    distances = np.abs(samples[None, :] - at[:, None])
    assert np.all(np.abs(samples[found] - at) == distances.min(axis=1))


@given(stamps, times, st.integers(1, 5_000))
def test_values_are_known_exactly_between_samples_that_are_close(samples, at, gap):
    place = bracket(samples, at, gap)
    for index, time in enumerate(at):
        before = [s for s in samples if s <= time]
        after = [s for s in samples if s >= time]
        known = bool(before and after) and min(after) - max(before) <= gap
        assert place.valid[index] == known
        if known:
            assert samples[place.before[index]] == max(before)
            assert samples[place.after[index]] == min(after)


@given(stamps, times)
def test_a_straight_line_is_followed_exactly(samples, at):
    line = Values(samples, np.stack([2.0 * samples + 1.0, -1.0 * samples], axis=1))
    got, valid = line.at(at, 100_000)
    assert np.allclose(got[valid], np.stack([2.0 * at + 1.0, -1.0 * at], axis=1)[valid], atol=1e-6)
    assert np.all(valid == ((at >= samples[0]) & (at <= samples[-1])))


@given(stamps, times)
def test_held_values_are_the_newest(samples, at):
    got, valid = Values(samples, samples[:, None].astype(float)).held(at)
    for value, known, time in zip(got[:, 0], valid, at, strict=True):
        assert known == (time >= samples[0])
        if known:
            assert value == max(s for s in samples if s <= time)


vectors = hnp.arrays(np.float64, 3, elements=st.floats(-1.5, 1.5))


@given(vectors, vectors, st.floats(0.0, 1.0), st.booleans())
def test_turning_is_even_and_takes_the_shorter_way(first, second, share, flipped):
    start = quaternion_from_rotation_vector(first)
    end = quaternion_from_rotation_vector(second)
    given_end = -end if flipped else end  # the same orientation
    got = slerp(start[None], given_end[None], np.array([share]))[0]
    whole = angle_between(start, end)
    assert np.linalg.norm(got) == pytest.approx(1.0)
    assert angle_between(start, got) == pytest.approx(share * whole, abs=1e-6)
    assert angle_between(got, end) == pytest.approx((1.0 - share) * whole, abs=1e-6)


def test_poses_are_interpolated_and_refused_over_gaps():
    turned = quaternion_from_rotation_vector([0.0, 0.0, 1.0])
    poses = Poses(
        np.array([0, 100, 1000]),
        np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [9.0, 0.0, 0.0]]),
        np.stack([np.array([0.0, 0.0, 0.0, 1.0]), turned, turned]),
    )
    got, valid = poses.at(np.array([-1, 50, 100, 500, 1000, 1001]), 200)
    assert valid.tolist() == [False, True, True, False, True, False]
    assert got.positions[1].tolist() == [0.5, 0.0, 0.0]
    assert angle_between(got.quaternions[1], [0, 0, 0, 1]) == pytest.approx(0.5)


def test_without_samples_nothing_is_known():
    nothing = np.array([], dtype=np.int64)
    assert not Values(nothing, np.zeros((0, 2))).at(np.array([1, 2]), 10)[1].any()
    assert not Values(nothing, np.zeros((0, 2))).held(np.array([1, 2]))[1].any()
    assert not Poses(nothing, np.zeros((0, 3)), np.zeros((0, 4))).at(np.array([1]), 10)[1].any()
    assert not Poses(nothing, np.zeros((0, 3)), np.zeros((0, 4))).held(np.array([1]))[1].any()
