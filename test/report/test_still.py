"""Tests of the picture that shows a whole run."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dream_vla_ros.report.frame import BAD, GOOD
from dream_vla_ros.report.recording import Recording, Track
from dream_vla_ros.report.still import telling_time, write_still


def test_each_goal_has_its_tile_and_result(recording, tmp_path):
    path = tmp_path / "demo.png"
    write_still(recording, path)
    image = np.asarray(Image.open(path))
    half = image.shape[1] // 2
    assert (image[:, :half] == GOOD).all(axis=2).any()
    assert not (image[:, :half] == BAD).all(axis=2).any()
    assert (image[:, half:] == BAD).all(axis=2).any()
    assert image.shape[1] == 2 * 416 + 16


def test_no_more_goals_than_asked_for(recording, tmp_path):
    path = tmp_path / "demo.png"
    write_still(recording, path, most=1)
    assert Image.open(path).size[0] == 432


def test_the_time_shown_has_the_gripper_closed_and_moving(recording):
    goal = recording.goals[0]
    assert recording.commands.at(telling_time(recording, goal)).gripper == 0.0


def test_a_goal_without_motion_is_shown_in_its_middle(recording):
    goal = recording.goals[0]
    recording.commands = Track()
    assert telling_time(recording, goal) == pytest.approx(11.0)


def test_a_run_without_goals_has_no_picture(tmp_path):
    with pytest.raises(ValueError, match="no goals"):
        write_still(Recording(), tmp_path / "x.png")
