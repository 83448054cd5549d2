"""Tests of noticing that a policy asks for no more motion and that the arm makes none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.settling import SettleDetector, SettleSettings

PERIOD_S = 0.2
STEPS = 8
EXECUTE_S = 0.8
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
HOME = Pose(np.array([0.3, 0.0, 0.15]), DOWN)


def chunk(translation=0.0, rotation=0.0, gripper=1.0):
    """Motion of the same step again and again: m and rad per period."""
    return Motion(
        np.tile([translation, 0.0, 0.0], (STEPS, 1)),
        np.tile([0.0, rotation, 0.0], (STEPS, 1)),
        np.full(STEPS, gripper) if np.isscalar(gripper) else np.array(gripper),
    )


class Watched:
    """A detector that is shown chunks 0.8 s apart, of an arm that is still unless told otherwise."""

    def __init__(self, **thresholds):
        self.detector = SettleDetector(SettleSettings(**{"time": 2.0, **thresholds}))
        self.now_s = 10.0

    def show(self, *chunks, pose=HOME, gripper=1.0):
        """Show chunks; poses and openings may be lists, one for each."""
        poses = pose if isinstance(pose, list) else [pose] * len(chunks)
        openings = gripper if isinstance(gripper, list) else [gripper] * len(chunks)
        for motion, where, opening in zip(chunks, poses, openings, strict=True):
            self.detector.add(motion, PERIOD_S, self.now_s, execute_s=EXECUTE_S, pose=where, gripper=opening)
            self.now_s += 0.8
        return self.detector


def at(x, angle=0.0):
    return HOME.moved(np.array([x, 0.0, 0.0]), np.array([0.0, 0.0, angle]))


def test_settles_after_the_time_without_motion():
    watched = Watched()
    for _ in range(3):
        assert not watched.show(chunk()).settled
    assert watched.show(chunk()).settled
    assert watched.detector.quiet_s == pytest.approx(2.4)


def test_one_chunk_never_settles():
    assert not Watched(time=0.001).show(chunk()).settled
    assert Watched(time=0.001).show(chunk(), chunk()).settled


def test_zero_time_never_settles():
    assert not Watched(time=0.0).show(*[chunk()] * 100).settled


def test_motion_starts_the_wait_again():
    watched = Watched()
    watched.show(*[chunk()] * 3, pose=at(0.0))
    assert not watched.show(*[chunk()] * 3, pose=at(0.03)).settled
    assert watched.show(chunk(), pose=at(0.03)).settled


@pytest.mark.parametrize(
    "moving",
    [
        {"pose": [at(0.01 * k) for k in range(10)]},
        {"pose": [at(0.0, 0.1 * k) for k in range(10)]},
        {"gripper": [1.0 - 0.06 * k for k in range(10)]},
    ],
)
def test_an_arm_that_creeps_moves(moving):
    """Each look is near the one before, but not near the one at the beginning."""
    assert not Watched().show(*[chunk()] * 10, **moving).settled


def test_there_and_back_between_looks_is_motion():
    poses = [at(0.0), at(0.0), at(0.05), at(0.0)] * 3
    assert not Watched().show(*[chunk()] * 12, pose=poses).settled


def test_there_and_back_within_a_chunk_is_motion():
    tap = chunk()
    tap.translation[:2, 2] = -0.03
    tap.translation[2:4, 2] = 0.03
    assert not Watched().show(*[tap] * 10).settled


@pytest.mark.parametrize("asked", [chunk(translation=0.006), chunk(rotation=0.03)])
def test_a_blocked_arm_is_asked_for_motion(asked):
    """It stands still, but not because the policy wants it to."""
    assert not Watched().show(*[asked] * 10).settled


def test_only_the_part_that_is_executed_counts():
    later = chunk()
    later.translation[4:] = 0.03
    assert Watched().show(*[later] * 4).settled


def test_a_gripper_that_moves_is_motion():
    assert not Watched().show(*[chunk()] * 10, gripper=[1.0, 0.5] * 5).settled


def test_without_finger_joints_the_asked_opening_counts():
    still = [chunk(gripper=0.0)] * 2
    assert Watched().show(*still * 2, gripper=None).settled
    assert not Watched().show(*[*still, chunk(gripper=1.0), *still], gripper=None).settled


def test_a_held_block_keeps_the_gripper_open_though_it_is_asked_to_close():
    assert Watched().show(*[chunk(gripper=0.0)] * 4, gripper=0.64).settled


def test_without_a_pose_what_is_asked_for_is_judged():
    assert Watched().show(*[chunk()] * 4, pose=None).settled
    assert not Watched().show(*[chunk(translation=0.006)] * 10, pose=None).settled


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_noise_of_a_learned_policy_settles(seed):
    """As measured of the shipped checkpoint after success: some 4 mm a step, none of it one way for long."""
    rng = np.random.default_rng(seed)
    watched = Watched(time=3.0)
    place = np.zeros(3)
    settled = False
    for _ in range(13):
        drift = rng.uniform(-0.006, 0.006, 3)
        steps = np.tile(drift / STEPS, (STEPS, 1))
        noisy = Motion(steps, rng.normal(0.0, 5e-3, (STEPS, 3)), rng.uniform(0.0, 0.4, STEPS))
        place = place * 0.5 + drift / 2.0
        settled |= watched.show(noisy, pose=HOME.moved(place, np.zeros(3)), gripper=0.63).settled
    assert settled


@given(st.floats(0.021, 0.3), st.floats(0.05, 2.0))
@settings(max_examples=50, deadline=None)
def test_an_arm_under_way_never_settles(distance_m, time_s):
    """Motion on one line at any speed above the thresholds, whatever the time."""
    watched = Watched(time=time_s)
    speed = max(distance_m / max(time_s, 0.8), 0.021 / 0.8)
    step = speed * PERIOD_S
    poses = [at(speed * 0.8 * k) for k in range(12)]
    assert not watched.show(*[chunk(translation=step)] * 12, pose=poses).settled
