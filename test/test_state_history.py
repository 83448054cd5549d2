"""The arm's state at the capture of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.series import Poses
from dream_vla_ros.state_history import StateHistory, StateUnknownError

TABLETOP = Embodiment.from_file(Path(__file__).parents[1] / "config" / "tabletop.yaml")
FINGERS = TABLETOP.state.finger_joints
MS = 10**6


def pose(t_ms: float) -> Pose:
    return Pose(np.array([t_ms, 0.0, 1.0]), quaternion_from_rotation_vector([0.0, 0.0, t_ms * 1e-3]))


def history(*stamps_ms: int) -> StateHistory:
    made = StateHistory(TABLETOP)
    for stamp in stamps_ms:
        made.add_pose(stamp * MS, pose(stamp))
        made.add_joints(stamp * MS, dict.fromkeys(FINGERS, stamp * 1e-5))
    return made


def test_between_samples_the_state_is_interpolated():
    state = history(100, 120, 140).at(125 * MS)
    np.testing.assert_allclose(state.pose.position, [125.0, 0.0, 1.0])
    np.testing.assert_allclose(state.pose.quaternion, pose(125).quaternion, atol=1e-12)
    assert state.joints[FINGERS[0]] == pytest.approx(125e-5)
    assert state.stamp_ns == 125 * MS
    assert state.gripper == pytest.approx(125e-5 / 0.037)


def test_a_sample_exactly_there_is_taken_as_it_is():
    state = history(100, 120).at(120 * MS)
    assert state.pose.position[0] == 120.0


@pytest.mark.parametrize(
    ("stamp_ms", "words"),
    [(150, "since the image"), (90, "before the image"), (1000, "since the image")],
)
def test_what_is_not_known_then_is_said(stamp_ms: int, words: str):
    with pytest.raises(StateUnknownError, match=words):
        history(100, 120).at(stamp_ms * MS)


def test_samples_too_far_apart_have_nothing_between_them():
    with pytest.raises(StateUnknownError, match="apart"):
        history(100, 100 + 251).at(200 * MS)
    history(100, 100 + 249).at(200 * MS)


def test_nothing_received_is_said():
    with pytest.raises(StateUnknownError, match="received"):
        StateHistory(TABLETOP).at(0)


def test_the_newest_moment_known_is_that_of_the_slowest():
    made = history(100, 120)
    made.add_pose(140 * MS, pose(140))
    assert made.newest_ns() == 120 * MS
    assert StateHistory(TABLETOP).newest_ns() == 0


def test_a_stamp_that_repeats_counts_once_and_the_first_wins():
    made = history(100, 120)
    made.add_pose(120 * MS, pose(999))
    assert made.at(120 * MS).pose.position[0] == 120.0


@settings(deadline=None)
@given(
    stamps=st.lists(st.integers(0, 400), min_size=2, max_size=30, unique=True),
    moment=st.integers(0, 400),
)
def test_it_is_what_a_dataset_would_say_in_whatever_order_samples_come(stamps: list[int], moment: int):
    made = history(*stamps)
    ordered = sorted(stamps)
    whole = Poses(
        np.array(ordered, dtype=np.int64) * MS,
        np.array([pose(t).position for t in ordered]),
        np.array([pose(t).quaternion for t in ordered]),
    )
    expected, known = whole.at(np.array([moment * MS]), round(TABLETOP.timing.state_max_age * 1e9))
    if not known[0]:
        with pytest.raises(StateUnknownError):
            made.at(moment * MS)
        return
    found = made.at(moment * MS).pose
    np.testing.assert_array_equal(found.position, expected[0].position)
    np.testing.assert_array_equal(found.quaternion, expected[0].quaternion)
