"""Resampling of chunks: exact sums, whole grippers, limited speed, any period."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import chunk, embodiment
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control.timeline import Timeline
from dream_vla_ros.geometry import (
    angle_between,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)

LIMITS = embodiment(limits__linear_speed=0.2, limits__angular_speed=1.0).limits
SLOW = st.floats(-0.01, 0.01)
VECTOR = st.tuples(SLOW, SLOW, SLOW)
TICK = st.floats(0.001, 0.3)
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


@st.composite
def chunks(draw: st.DrawFn) -> ActionChunk:
    steps = draw(st.integers(1, 8))
    return chunk(
        0,
        draw(st.lists(VECTOR, min_size=steps, max_size=steps)),
        draw(st.lists(VECTOR, min_size=steps, max_size=steps)),
        draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=steps, max_size=steps)),
        steps=steps,
        period_s=draw(st.sampled_from([0.05, 1 / 15, 0.1, 0.2, 1 / 3])),
    )


def run(timeline: Timeline, tick_s: float) -> tuple[np.ndarray, np.ndarray, float, list[float]]:
    translation, quaternion, action_s, grippers = np.zeros(3), IDENTITY, 0.0, []
    while (advance := timeline.peek(tick_s)) is not None:
        translation = translation + advance.translation
        quaternion = quaternion_multiply(advance.quaternion, quaternion)
        action_s += advance.action_s
        grippers.append(advance.gripper)
        timeline.take(advance)
        assert len(grippers) < 100_000
    return translation, quaternion, action_s, grippers


def sum_of(made: ActionChunk) -> tuple[np.ndarray, np.ndarray]:
    quaternion = IDENTITY
    for rotation in made.rotation:
        quaternion = quaternion_multiply(quaternion_from_rotation_vector(rotation), quaternion)
    return made.translation.sum(axis=0), quaternion


@given(chunks(), TICK)
def test_motion_sums_up_exactly_at_any_tick(made: ActionChunk, tick_s: float):
    timeline = Timeline(LIMITS)
    timeline.load(made, 0.0)

    translation, quaternion, action_s, grippers = run(timeline, tick_s)

    expected, turned = sum_of(made)
    np.testing.assert_allclose(translation, expected, atol=1e-12)
    assert angle_between(quaternion, turned) < 1e-9
    assert action_s == pytest.approx(made.duration_s, abs=1e-7)
    assert set(grippers) <= set(made.gripper)
    assert timeline.chunk is None
    assert timeline.remaining_s == 0.0


@given(chunks(), TICK, st.floats(0.0, 0.99))
def test_skipping_leaves_exactly_the_rest(made: ActionChunk, tick_s: float, share: float):
    skip_s = share * made.duration_s
    timeline = Timeline(LIMITS)
    timeline.load(made, skip_s)

    translation, _, action_s, _ = run(timeline, tick_s)

    step = int(skip_s / made.period_s)
    rest = made.translation[step:].copy()
    rest[0] *= 1.0 - (skip_s / made.period_s - step)
    np.testing.assert_allclose(translation, rest.sum(axis=0), atol=1e-9)
    assert action_s == pytest.approx(made.duration_s - skip_s, abs=1e-7)


@given(chunks(), TICK)
def test_looking_takes_nothing(made: ActionChunk, tick_s: float):
    timeline = Timeline(LIMITS)
    timeline.load(made, 0.0)
    first, second = timeline.peek(tick_s), timeline.peek(tick_s)
    np.testing.assert_array_equal(first.translation, second.translation)
    np.testing.assert_array_equal(first.quaternion, second.quaternion)
    assert timeline.remaining_s == made.duration_s


def test_a_chunk_is_as_many_ticks_as_its_duration():
    timeline = Timeline(LIMITS)
    timeline.load(chunk(0, (0.01, 0, 0), steps=8, period_s=0.2), 0.0)
    assert len(run(timeline, 0.02)[3]) == 80


def test_the_gripper_changes_where_its_step_begins():
    timeline = Timeline(LIMITS)
    timeline.load(chunk(0, gripper=[1.0, 0.0, 0.3], steps=3, period_s=0.1), 0.0)
    grippers = run(timeline, 0.02)[3]
    assert grippers == [1.0] * 5 + [0.0] * 5 + [0.3] * 5


@given(
    translation=st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    rotation=st.tuples(*[st.floats(-9.0, 9.0)] * 3),
    tick_s=st.floats(0.005, 0.05),
)
def test_fast_steps_take_longer_and_keep_their_path(translation, rotation, tick_s):
    made = chunk(0, translation, rotation, steps=2, period_s=0.1)
    timeline = Timeline(LIMITS)
    timeline.load(made, 0.0)
    linear = np.linalg.norm(translation) / 0.1
    angular = np.linalg.norm(rotation) / 0.1
    rate = min(1.0, 0.2 / max(linear, 1e-9), 1.0 / max(angular, 1e-9))

    advance = timeline.peek(tick_s)

    assert advance.slowed == (rate < 1.0)
    assert np.linalg.norm(advance.translation) <= 0.2 * tick_s + 1e-12
    assert angle_between(IDENTITY, advance.quaternion) <= 1.0 * tick_s + 1e-9
    assert advance.action_s == pytest.approx(rate * tick_s, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(
        advance.translation, np.array(translation) * advance.action_s / 0.1, atol=1e-12
    )


@pytest.mark.parametrize("size", [1e20, 1e200, 1e300])
def test_absurd_steps_stand_still_instead_of_overflowing(size: float):
    timeline = Timeline(LIMITS)
    timeline.load(chunk(0, (size, -size, size), (size, 0, 0)), 0.0)
    advance = timeline.peek(0.02)
    assert advance.slowed
    assert np.linalg.norm(advance.translation) <= 0.2 * 0.02 + 1e-12
    assert advance.action_s < 1e-9


def test_a_newer_chunk_replaces_the_rest():
    timeline = Timeline(LIMITS)
    timeline.load(chunk(0, (0.01, 0, 0)), 0.0)
    timeline.take(timeline.peek(0.5))
    timeline.load(chunk(0, (0, 0.01, 0)), 0.2)
    translation, _, action_s, _ = run(timeline, 0.02)
    np.testing.assert_allclose(translation, [0, 0.07, 0], atol=1e-12)
    assert action_s == pytest.approx(1.4)


def test_nothing_is_left_after_clearing():
    timeline = Timeline(LIMITS)
    assert timeline.peek(0.02) is None
    timeline.load(chunk(0), 0.0)
    timeline.clear()
    assert timeline.peek(0.02) is None


def test_motion_fades_from_one_chunk_to_the_next_and_the_gripper_switches_at_once():
    timeline = Timeline(LIMITS, fade_s=0.1)
    timeline.load(chunk(0, (0.02, 0.0, 0.0), (0.0, 0.0, 0.1), gripper=1.0), 0.0)
    assert walk(timeline, 5)[-1].translation[0] == pytest.approx(0.002)
    timeline.load(chunk(0, (0.0, 0.02, 0.0), (0.0, 0.0, 0.0), gripper=0.0, chunk_id=2), 0.1)
    fading = walk(timeline, 8)
    assert [advance.gripper for advance in fading] == [0.0] * 8
    shares = np.array([1, 2, 3, 4, 5, 6, 6, 6]) / 6
    np.testing.assert_allclose([a.translation[1] for a in fading], 0.002 * shares, atol=1e-12)
    np.testing.assert_allclose([a.translation[0] for a in fading], 0.002 * (1 - shares), atol=1e-12)
    turns = [rotation_vector_from_quaternion(a.quaternion)[2] for a in fading]
    np.testing.assert_allclose(turns, 0.01 * (1 - shares), atol=1e-9)


def test_nothing_is_faded_from_after_a_flush_or_from_a_chunk_that_ended():
    timeline = Timeline(LIMITS, fade_s=0.1)
    timeline.load(chunk(0, (0.02, 0.0, 0.0)), 0.0)
    walk(timeline, 3)
    timeline.clear()
    timeline.load(chunk(0, (0.0, 0.02, 0.0), chunk_id=2), 0.0)
    assert walk(timeline, 1)[0].translation[0] == 0.0
    timeline.load(chunk(0, (0.02, 0.0, 0.0), steps=1, chunk_id=3), 0.17)
    timeline.load(chunk(0, (0.0, 0.02, 0.0), chunk_id=4), 0.0)
    taken = walk(timeline, 3)
    assert taken[0].translation[0] > 0.0
    assert taken[2].translation[0] == 0.0


def walk(timeline: Timeline, ticks: int) -> list:
    taken = []
    for _ in range(ticks):
        advance = timeline.peek(0.02)
        assert advance is not None
        timeline.take(advance)
        taken.append(advance)
    return taken
