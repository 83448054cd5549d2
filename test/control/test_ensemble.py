"""Temporal ensembling: weights, alignment in time, rotations, and the gripper that is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import GOAL, SECOND
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control.ensemble import Ensemble, mean_rotation, motion_between
from dream_vla_ros.geometry import (
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)

PERIOD_S = 0.2
VECTOR = st.tuples(*[st.floats(-0.5, 0.5)] * 3).map(np.array)


def make(translation, stamp_s=0.0, rotation=None, gripper=1.0, chunk_id=1):
    translation = np.asarray(translation, dtype=float)
    return ActionChunk(
        translation,
        np.zeros_like(translation) if rotation is None else rotation,
        np.full(len(translation), gripper),
        PERIOD_S,
        round(stamp_s * SECOND),
        GOAL,
        chunk_id,
    )


def executed_at(now_s):
    """Motion went on without a break since time 0."""
    return lambda stamp_ns: now_s - stamp_ns / SECOND


def along_x(values):
    return [(value, 0.0, 0.0) for value in values]


def test_one_chunk_alone_stays_as_it_is():
    chunk = make(along_x(range(4)))
    assert Ensemble(0.01).blend(chunk, executed_at(0.1), 0) is chunk


@pytest.mark.parametrize("decay", [0.0, 0.01, 1.0])
def test_weights_are_those_of_the_paper_and_the_oldest_weighs_most(decay):
    ensemble = Ensemble(decay)
    ensemble.blend(make(along_x([1.0] * 8), 0.0), executed_at(0.0), 0)
    ensemble.blend(make(along_x([2.0] * 8), 0.4), executed_at(0.4), 0)
    blended = ensemble.blend(make(along_x([4.0] * 8), 0.8, gripper=0.25), executed_at(1.0), 0)
    w = np.exp(-decay * np.arange(3))
    three, two = w @ [1.0, 2.0, 4.0] / w.sum(), w[:2] @ [2.0, 4.0] / w[:2].sum()
    np.testing.assert_allclose(blended.translation[:, 0], [three] * 4 + [two] * 2 + [4.0] * 2)
    assert (blended.gripper == 0.25).all()


def test_chunks_are_aligned_by_what_was_executed_also_between_steps():
    ensemble = Ensemble(0.0)
    ensemble.blend(make(along_x([0.0, 1.0, 2.0, 3.0])), executed_at(0.0), 0)
    # Captured 0.3 s later, but the arm was held for 0.2 s of that: half a step was executed.
    blended = ensemble.blend(
        make(along_x([0.0] * 4), 0.3), lambda stamp_ns: {0: 0.15, round(0.3 * SECOND): 0.05}[stamp_ns], 0
    )
    np.testing.assert_allclose(blended.translation[:, 0], [0.25, 0.75, 1.25, 0.0])


def test_long_chunks_are_averaged_as_far_as_they_will_be_executed():
    ensemble = Ensemble(0.0)
    x, y = np.array([0.01, 0.0, 0.0]), np.array([0.0, 0.01, 0.0])

    def long(direction, chunk_id):
        moved = np.tile(direction, (1000, 1))
        return ActionChunk(moved, np.zeros((1000, 3)), np.ones(1000), 0.1, SECOND, GOAL, chunk_id)

    ensemble.blend(long(x, 1), lambda _: 0.0, 0)
    blended = ensemble.blend(long(y, 2), lambda _: 0.25, 0)
    np.testing.assert_allclose(blended.translation[33], (x + y) / 2)
    np.testing.assert_allclose(blended.translation[34:], np.tile(y, (966, 1)))


def test_what_is_too_old_or_was_forgotten_has_no_say():
    ensemble = Ensemble(0.0)
    ensemble.blend(make(along_x([1.0] * 8), 0.0), executed_at(0.0), 0)
    late = make(along_x([2.0] * 8), 0.4)
    assert ensemble.blend(late, executed_at(0.4), round(0.2 * SECOND)) is late
    ensemble.clear()
    later = make(along_x([3.0] * 8), 0.6)
    assert ensemble.blend(later, executed_at(0.6), 0) is later


@settings(deadline=None)
@given(st.lists(VECTOR, min_size=2, max_size=6), st.floats(0.0, 1.0), st.floats(0.05, 0.6))
def test_a_stretch_is_the_motion_between_two_moments(rotations, begin, duration_s):
    chunk = make(np.array(rotations) * 0.1, rotation=np.array(rotations))
    begin_s = begin * chunk.duration_s
    stretch = motion_between(chunk, begin_s, duration_s)
    if begin_s + duration_s > chunk.duration_s + 1e-6:
        assert stretch is None
        return
    # Moving on in two goes leads to the same place.
    first = motion_between(chunk, begin_s, duration_s / 2)
    second = motion_between(chunk, begin_s + duration_s / 2, duration_s / 2)
    np.testing.assert_allclose(first[0] + second[0], stretch[0], atol=1e-6)
    both = quaternion_multiply(
        quaternion_from_rotation_vector(second[1]), quaternion_from_rotation_vector(first[1])
    )
    np.testing.assert_allclose(rotation_vector_from_quaternion(both), stretch[1], atol=1e-5)


@settings(deadline=None)
@given(VECTOR, VECTOR, st.floats(0.0, 1.0))
def test_the_mean_of_two_rotations_lies_on_the_way_between_them(first, second, share):
    mean = mean_rotation([first, second], np.array([1.0 - share, share]))
    start = quaternion_from_rotation_vector(first)
    way = rotation_vector_from_quaternion(
        quaternion_multiply(quaternion_from_rotation_vector(second), start * np.array([-1, -1, -1, 1]))
    )
    expected = quaternion_multiply(quaternion_from_rotation_vector(way * share), start)
    np.testing.assert_allclose(mean, rotation_vector_from_quaternion(expected), atol=1e-8)


@settings(deadline=None)
@given(st.lists(VECTOR, min_size=1, max_size=5), VECTOR)
def test_the_mean_turns_with_the_axes(vectors, turn):
    weights = np.full(len(vectors), 1.0 / len(vectors))
    about = quaternion_from_rotation_vector(turn)

    def turned(vector):
        inverse = about * np.array([-1, -1, -1, 1])
        quaternion = quaternion_multiply(about, quaternion_from_rotation_vector(vector))
        return rotation_vector_from_quaternion(quaternion_multiply(quaternion, inverse))

    mean = mean_rotation([turned(v) for v in vectors], weights)
    np.testing.assert_allclose(mean, turned(mean_rotation(vectors, weights)), atol=1e-7)
