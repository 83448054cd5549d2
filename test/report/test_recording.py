"""Tests of what is noted during a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose
from dream_vla_ros.report.frame_spool import FrameSpool
from dream_vla_ros.report.recording import CameraTrack, Track


@given(st.lists(st.floats(0.0, 100.0)), st.floats(0.0, 100.0))
def test_a_track_gives_the_newest_value_not_later_than_asked(times, asked):
    track = Track()
    for time_s in times:
        track.add(time_s, time_s)
    assert track.times_s == sorted(times)
    earlier = [time_s for time_s in times if time_s <= asked]
    assert track.at(asked) == (max(earlier) if earlier else None)


@given(st.lists(st.floats(0.0, 100.0)), st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_a_track_gives_all_between(times, begin, end):
    track = Track()
    for time_s in times:
        track.add(time_s, str(time_s))
    found = [time_s for time_s, _ in track.between(begin, end)]
    assert found == sorted(time_s for time_s in times if begin <= time_s <= end)


def test_old_values_do_not_count():
    track = Track()
    track.add(1.0, "x")
    assert track.at(1.5, max_age_s=0.5) == "x"
    assert track.at(1.6, max_age_s=0.5) is None


def test_a_camera_on_the_arm_moves_with_it():
    mounted = Pose(np.array([0.0, 0.0, 0.1]), np.array([0.0, 0.0, 0.0, 1.0]))
    arm = Pose(np.array([0.3, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))  # turned upside down
    camera = CameraTrack(FrameSpool(), pose=mounted, on_arm=True)
    np.testing.assert_allclose(camera.pose_in_base(arm).position, [0.3, 0.0, 0.1], atol=1e-12)
    assert camera.pose_in_base(None) is None
    fixed = CameraTrack(FrameSpool(), pose=mounted)
    assert fixed.pose_in_base(None) is mounted


def test_a_camera_gives_the_newest_image():
    camera = CameraTrack(FrameSpool())
    for grey in (10, 20, 30):
        camera.add(float(grey), np.full((2, 3, 3), grey, dtype=np.uint8))
    assert camera.at(5.0) is None
    assert camera.at(25.0)[0, 0, 0] == 20
    assert camera.at(25.0).shape == (2, 3, 3)


def test_images_come_back_as_they_went(tmp_path):
    spool = FrameSpool(tmp_path)
    images = [
        np.random.default_rng(seed).integers(0, 256, (seed + 1, 5, 3), dtype=np.uint8) for seed in range(4)
    ]
    assert [spool.add(image) for image in images] == [0, 1, 2, 3]
    for index in (2, 0, 3, 1):
        np.testing.assert_array_equal(spool[index], images[index])
    assert len(spool) == 4
    spool.close()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)]
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match="not \\(H, W, 3\\) uint8"):
        FrameSpool().add(image)
