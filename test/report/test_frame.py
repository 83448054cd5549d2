"""Tests of one frame of the video."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.report.frame import BAD, COMMAND, GOOD, HEIGHT, PATH, WIDTH, draw_frame
from dream_vla_ros.report.recording import ChunkSeen, Command, Recording, Track

HEADER = 64
IMAGE = 576
LEFT = (WIDTH - 2 * IMAGE) // 3


def has(frame, colour):
    return (frame == colour).all(axis=2)


def first_camera(frame):
    return frame[HEADER : HEADER + IMAGE, LEFT : LEFT + IMAGE]


def test_a_frame_has_the_size_of_the_video_and_shows_both_cameras(recording):
    frame = draw_frame(recording, recording.goals[0], 11.0)
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert frame.dtype == np.uint8
    assert tuple(frame[HEADER + IMAGE - 5, LEFT + 5]) == (90, 90, 90)
    assert tuple(frame[HEADER + IMAGE - 5, WIDTH - LEFT - 5]) == (160, 160, 160)


def test_the_arrow_begins_at_the_arm_and_points_where_it_is_sent(recording):
    # The camera looks down with the robot's left at the image's left; the command is to the left.
    view = first_camera(draw_frame(recording, recording.goals[0], 12.0))
    rows, columns = np.argwhere(has(view, COMMAND)).T
    arm_y = -0.1 + 0.1 * 2.0
    arm_column = (31.5 - 80.0 * arm_y / 0.5 + 0.5) * IMAGE / 64 - 0.5
    tip_column = (31.5 - 80.0 * (arm_y + 0.06) / 0.5 + 0.5) * IMAGE / 64 - 0.5
    assert columns.max() == pytest.approx(arm_column + 5, abs=2)
    assert columns.min() == pytest.approx(tip_column, abs=3)
    assert rows.mean() == pytest.approx(IMAGE / 2, abs=2)


def test_a_hold_has_no_arrow(recording):
    recording.commands = Track()
    recording.commands.add(11.0, Command(np.zeros(3), np.zeros(3), 1.0))
    moving = has(first_camera(draw_frame(recording, recording.goals[0], 11.0)), COMMAND)
    rows, columns = np.argwhere(moving).T
    assert np.ptp(columns) < 14
    assert np.ptp(rows) < 14


def test_the_rest_of_the_chunk_is_drawn_while_it_is_carried_out(recording):
    goal = recording.goals[0]
    assert has(first_camera(draw_frame(recording, goal, 11.0)), PATH).any()
    recording.chunks = Track()
    assert not has(first_camera(draw_frame(recording, goal, 11.0)), PATH).any()


def test_the_outcome_is_shown_in_its_colour(recording):
    before = draw_frame(recording, recording.goals[0], 11.0)[:HEADER]
    done = draw_frame(recording, recording.goals[0], 12.5)[:HEADER]
    missed = draw_frame(recording, recording.goals[1], 15.5)[:HEADER]
    assert not has(before, GOOD).any()
    assert has(done, GOOD).any()
    assert has(missed, BAD).any()


def test_untrained_weights_are_marked(recording):
    plain = draw_frame(recording, recording.goals[0], 11.0)[:HEADER]
    recording.warning = "untrained weights"
    assert not has(plain, BAD).any()
    assert has(draw_frame(recording, recording.goals[0], 11.0)[:HEADER], BAD).any()


def test_nothing_known_is_drawn_all_the_same(recording):
    empty = Recording(cameras=recording.cameras)
    frame = draw_frame(empty, recording.goals[0], 0.0)
    assert frame.shape == (HEIGHT, WIDTH, 3)


def test_long_chunks_fit(recording):
    long = recording.chunks.values[0].chunk
    steps = np.tile(long.translation[:1], (200, 1))
    chunk = type(long)(steps, np.zeros((200, 3)), np.ones(200), 0.02, 0, bytes(16), 1)
    recording.chunks = Track()
    recording.chunks.add(10.0, ChunkSeen(chunk, 0.1))
    assert draw_frame(recording, recording.goals[0], 11.0).shape == (HEIGHT, WIDTH, 3)
