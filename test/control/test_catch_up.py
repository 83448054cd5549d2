"""The arm gets to where a chunk has it, however late the chunk comes."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import SECOND, chunk, embodiment, ready, without_limits
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.control import ControlSettings
from dream_vla_ros.control.catch_up import lack, made_up
from dream_vla_ros.control.history import ActionHistory
from dream_vla_ros.control.timeline import Timeline
from dream_vla_ros.geometry import (
    angle_between,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)

LIMITLESS = without_limits()
STILL = np.zeros(3)
PERIOD_S = 0.02
small = st.floats(-0.02, 0.02)


def vectors(count):
    return st.lists(st.tuples(small, small, small), min_size=count, max_size=count)


def run(timeline, history, start_s, seconds):
    """Carry on along the timeline and return what was moved."""
    moved = np.zeros(3)
    for tick in range(round(seconds / PERIOD_S)):
        advance = timeline.peek(PERIOD_S)
        stamp_ns = round((start_s + tick * PERIOD_S) * SECOND)
        if advance is None:
            history.record(stamp_ns, 0.0)
            continue
        timeline.take(advance)
        history.record(stamp_ns, advance.action_s, advance.translation, advance.quaternion)
        moved = moved + advance.translation
    return moved


@settings(max_examples=60, deadline=None)
@given(vectors(8), vectors(8), st.integers(0, 70), st.integers(0, 60), st.sampled_from([0.0, 0.1]))
def test_the_way_since_its_image_is_the_newest_chunks(first, second, before, latency, fade_s):
    limits = embodiment(**LIMITLESS).limits
    timeline, history = Timeline(limits, fade_s, catch_up_s=0.2), ActionHistory(PERIOD_S, 3.0)
    timeline.load(chunk(0, first), 0.0)
    run(timeline, history, 0.0, before * PERIOD_S)
    captured_s = before * PERIOD_S
    since = run(timeline, history, captured_s, latency * PERIOD_S)
    stamp_ns = round(captured_s * SECOND)
    made, skip_s = chunk(stamp_ns, second, chunk_id=2), history.since(stamp_ns)
    if skip_s >= made.duration_s - 0.2:
        return
    timeline.load(made, skip_s, history.way_since(stamp_ns))
    since = since + run(timeline, history, captured_s + latency * PERIOD_S, 2.0)
    # Within a fade motion counts as even; what that leaves, the next chunk makes up for.
    fastest = np.abs([*first, *second]).max() / 0.2
    assert np.abs(since - np.sum(second, axis=0)).max() <= 0.5 * fade_s * fastest + 1e-9


def test_what_was_missed_is_made_up_for_and_chunks_that_agree_change_nothing():
    positions = []
    for catch_up_s in (0.0, 0.2):
        robot, made = embodiment(**LIMITLESS), ControlSettings(catch_up_time=catch_up_s)
        bench = ready(robot=robot, settings=made)
        bench.give((0.01, 0.0, 0.0))
        bench.run(0.4)
        captured_ns = bench.ros_ns
        bench.run(0.2)
        bench.controller.take_chunk(chunk(captured_ns, (0.01, 0.0, 0.0), chunk_id=2), bench.ros_ns)
        bench.run(0.8)
        positions.append(bench.target.position)
    np.testing.assert_allclose(*positions, atol=1e-9)


def test_turns_are_made_up_for_too():
    bench = ready(robot=embodiment(**LIMITLESS))
    bench.give((0.0, 0.0, 0.0), (0.0, 0.0, 0.02))
    bench.run(0.4)
    captured_ns, begun = bench.ros_ns, bench.target.quaternion
    bench.run(0.2)
    made = chunk(captured_ns, (0.0, 0.0, 0.0), (0.0, 0.03, 0.0), chunk_id=2)
    bench.controller.take_chunk(made, bench.ros_ns)
    bench.run(2.0)
    wanted = quaternion_multiply(quaternion_from_rotation_vector([0.0, 0.24, 0.0]), begun)
    assert angle_between(bench.target.quaternion, wanted) < 0.01
    untouched = quaternion_multiply(quaternion_from_rotation_vector([0.0, 0.0, 0.02]), wanted)
    assert angle_between(bench.target.quaternion, untouched) > 0.012


@given(vectors(5), st.floats(0.0, 0.9), st.tuples(small, small, small), st.floats(0.05, 0.6))
def test_a_stretch_takes_all_that_is_missing(steps, begin_s, missing, over_s):
    plain = chunk(0, steps, steps=5, period_s=0.2)
    added = made_up(plain, begin_s, (np.array(missing), STILL), over_s)
    np.testing.assert_allclose(added.translation.sum(0), np.sum(steps, axis=0) + missing, atol=1e-12)
    assert added.duration_s == pytest.approx(plain.duration_s)
    if any(missing):
        part_s = added.period_s
        more = added.translation - np.repeat(plain.translation, len(added) // 5, axis=0) * part_s / 0.2
        begun = int(begin_s / part_s - 1e-6)
        np.testing.assert_allclose(more[:begun], 0.0, atol=1e-12)
        np.testing.assert_allclose(more[int((begin_s + over_s) / part_s) + 2 :], 0.0, atol=1e-12)


def test_nothing_is_lacked_where_the_arm_did_what_the_chunk_says():
    made = chunk(0, (0.01, 0.0, -0.01), (0.0, 0.02, 0.0))
    done = np.array([0.015, 0.0, -0.015]), quaternion_from_rotation_vector([0.0, 0.03, 0.0])
    for part in lack(made, 0.3, done):
        np.testing.assert_allclose(part, 0.0, atol=1e-12)
    moved, turned = lack(made, 0.3, (STILL, np.array([0.0, 0.0, 0.0, 1.0])))
    np.testing.assert_allclose(moved, done[0], atol=1e-12)
    np.testing.assert_allclose(turned, [0.0, 0.03, 0.0], atol=1e-12)
