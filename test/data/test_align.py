"""Property tests for the alignment rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.data.align import ActionSource, align, ticks
from dream_vla_ros.data.arm_state import ArmState, PoseTopic
from dream_vla_ros.data.commands import Commands
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.recording import CameraStream
from dream_vla_ros.geometry import quaternion_from_rotation_vector, rotation_between
from dream_vla_ros.series import Poses, Values

MS = 1_000_000
START = 1_700_000_000_000 * MS


def position(times_ns) -> np.ndarray:
    """Where the arm is: along a line, at a constant speed of 0.1 m/s."""
    seconds = (np.asarray(times_ns) - START) * 1e-9
    return np.stack([0.2 + 0.1 * seconds, 0.0 * seconds, 0.1 - 0.02 * seconds], axis=-1)


def turned(times_ns) -> np.ndarray:
    seconds = (np.asarray(times_ns) - START) * 1e-9
    return np.array([quaternion_from_rotation_vector([0.0, 0.0, 0.2 * second]) for second in seconds])


def poses(stamps) -> Poses:
    stamps = np.asarray(stamps, dtype=np.int64)
    return Poses(stamps, position(stamps), turned(stamps))


def camera(stamps) -> CameraStream:
    stamps = np.asarray(stamps, dtype=np.int64)
    return CameraStream("/camera", np.arange(len(stamps)), stamps)


def state(stamps, opening: float = 1.0) -> ArmState:
    stamps = np.asarray(stamps, dtype=np.int64)
    finger = Values(stamps, np.full((len(stamps), 1), 0.037 * opening))
    return ArmState(PoseTopic(poses(stamps)), {"left_finger": finger, "right_finger": finger})


def commands(stamps, values, targets=None) -> Commands:
    stamps = np.asarray(stamps, dtype=np.int64)
    return Commands(targets, Values(stamps, np.asarray(values, dtype=float)[:, None]), "/gripper")


@st.composite
def recordings(draw):
    """Draw streams with jitter and holes, of a few seconds."""

    def stream(period_ms, jitter_ms, hole_share):
        count = 3000 // period_ms
        jitter = draw(st.lists(st.integers(-jitter_ms, jitter_ms), min_size=count, max_size=count))
        kept = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
        stamps = [
            START + (index * period_ms + shift) * MS
            for index, (shift, chance) in enumerate(zip(jitter, kept, strict=True))
            if chance >= hole_share or index in (0, count - 1)
        ]
        return np.array(sorted(set(stamps)), dtype=np.int64)

    share = draw(st.sampled_from([0.0, 0.1, 0.5]))
    return stream(33, 10, share), stream(66, 20, share), stream(20, 5, share)


@settings(max_examples=60, deadline=None)
@given(recordings())
def test_what_is_kept_obeys_the_rule_and_nothing_is_made_up(tabletop, streams):
    first, second, samples = streams
    cameras = {"third_person": camera(first), "wrist": camera(second)}
    aligned = align(tabletop, cameras, state(samples), commands([START], [1.0]), ActionSource.REACHED)
    skew = tabletop.timing.camera_max_skew * 1e9
    gap = tabletop.timing.state_max_age * 1e9
    times = aligned.times_ns
    assert np.all(np.abs(np.diff(times) - 0.2e9) <= 1)
    known = np.ones(len(times), dtype=bool)
    for name, stamps in (("third_person", first), ("wrist", second)):
        distance = np.abs(stamps[None] - times[:, None])
        assert np.array_equal(stamps[aligned.images[name]], aligned.image_stamps_ns[name])
        assert np.all(np.abs(aligned.image_stamps_ns[name] - times) == distance.min(axis=1))
        known &= distance.min(axis=1) <= skew
    oldest = np.min(list(aligned.image_stamps_ns.values()), axis=0)
    assert np.array_equal(aligned.seen.times_ns, oldest)
    for row in range(len(times)):
        for time in (times[row], oldest[row]):
            before, after = samples[samples <= time], samples[samples >= time]
            known[row] &= bool(len(before) and len(after)) and after.min() - before.max() <= gap
    assert np.array_equal(aligned.valid, known & np.append(known[1:], False))
    for row in np.flatnonzero(aligned.valid):
        # The arm moves evenly, so linear interpolation is exact however the samples lie.
        assert np.allclose(aligned.poses.positions[row], position(times[row]), atol=1e-9)
        assert np.allclose(aligned.seen.poses.positions[row], position(oldest[row]), atol=1e-9)
        assert np.allclose(aligned.motion.translation[row], [0.02, 0.0, -0.004], atol=1e-8)
        assert np.allclose(aligned.motion.rotation[row], [0.0, 0.0, 0.04], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 199), st.floats(0.5, 30.0))
def test_actions_add_up_to_the_whole_motion(tabletop, offset_ms, rate):
    rate = min(rate, tabletop.timing.control_rate)
    robot = replace(tabletop, action=replace(tabletop.action, rate=rate))
    samples = START + np.arange(0, 4000, 10) * MS
    images = START + (np.arange(0, 3600, 33) + offset_ms) * MS
    aligned = align(
        robot,
        {"third_person": camera(images)},
        state(samples),
        commands([START], [1.0]),
        ActionSource.REACHED,
    )
    last = len(aligned.times_ns) - 1
    total = aligned.motion.translation[:last].sum(axis=0)
    assert np.allclose(total, aligned.poses.positions[last] - aligned.poses.positions[0], atol=1e-9)
    # All rotations are about one axis here, so their vectors add up too.
    turn = aligned.motion.rotation[:last].sum(axis=0)
    assert np.allclose(
        turn, rotation_between(aligned.poses.quaternions[0], aligned.poses.quaternions[last]), atol=1e-6
    )


def test_a_hole_in_one_camera_cuts_the_recording(tabletop):
    samples = START + np.arange(0, 4000, 20) * MS
    images = START + np.arange(0, 4000, 33) * MS
    holed = images[(images < START + 1500 * MS) | (images > START + 2100 * MS)]
    aligned = align(
        tabletop,
        {"third_person": camera(images), "wrist": camera(holed)},
        state(samples),
        commands([START], [1.0]),
        ActionSource.REACHED,
    )
    seconds = (aligned.times_ns - START) * 1e-9
    lost = seconds[~aligned.valid]
    # Nothing within 0.1 s of 1.6 to 2.0, and the frame before it has no next one.
    assert np.allclose(lost, [1.4, 1.6, 1.8, 2.0, seconds[-1]], atol=1e-6)
    assert aligned.missing["image of wrist"] == 3
    assert aligned.missing["next frame"] == 2


def test_the_action_of_a_frame_is_what_happens_until_the_next(tabletop):
    samples = START + np.arange(0, 2000, 10) * MS
    images = START + np.arange(0, 2000, 50) * MS
    closed_at = START + 905 * MS
    aligned = align(
        tabletop,
        {"third_person": camera(images)},
        state(samples),
        commands([START, closed_at], [1.0, 0.0]),
        ActionSource.REACHED,
    )
    tick = int(np.searchsorted(aligned.times_ns, closed_at)) - 1
    assert aligned.times_ns[tick] < closed_at <= aligned.times_ns[tick + 1]
    assert aligned.motion.gripper[: tick + 1].tolist() == [1.0] * tick + [0.0]
    assert aligned.motion.gripper[tick - 1] == 1.0


def test_commanded_actions_follow_the_commands_and_hold_after_the_last(tabletop):
    samples = START + np.arange(0, 3000, 20) * MS
    images = START + np.arange(0, 3000, 33) * MS
    told = START + np.arange(0, 1500, 20) * MS
    targets = Poses(told, 2.0 * position(told), turned(told))
    aligned = align(
        tabletop,
        {"third_person": camera(images)},
        state(samples),
        commands([START], [1.0], targets),
        ActionSource.COMMANDED,
    )
    seconds = (aligned.times_ns - START) * 1e-9
    moving = seconds < 1.2
    assert np.allclose(aligned.motion.translation[moving][:, 0], 0.04, atol=1e-6)
    assert np.allclose(aligned.motion.translation[seconds > 1.5], 0.0)


def test_without_commands_the_fingers_tell(tabletop):
    samples = START + np.arange(0, 3000, 20) * MS
    images = START + np.arange(0, 3000, 33) * MS
    arm = state(samples)
    closing = np.where(samples > START + 1000 * MS, 0.02, 0.037)[:, None]
    arm = ArmState(arm.poses, dict.fromkeys(arm.joints, Values(samples, closing)))
    aligned = align(
        tabletop, {"third_person": camera(images)}, arm, Commands(None, None, ""), ActionSource.REACHED
    )
    seconds = (aligned.times_ns - START) * 1e-9
    assert np.all(aligned.motion.gripper[seconds < 0.75] == 1.0)
    assert np.all(aligned.motion.gripper[seconds > 1.05] == 0.0)
    assert any("read off how the fingers moved" in note for note in aligned.notes)


def test_streams_without_common_time_are_refused(tabletop):
    early = START + np.arange(0, 1000, 20) * MS
    late = START + np.arange(5000, 6000, 33) * MS
    with pytest.raises(DataError, match=r"'third_person' begins 4\.0 s after 'state' has ended"):
        ticks({"third_person": camera(late)}, state(early), 0.2)
