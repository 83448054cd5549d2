"""Tests of the video file."""

from __future__ import annotations

import av
import numpy as np
import pytest

from dream_vla_ros.report.recording import Recording
from dream_vla_ros.report.video import VideoWriter, frame_times, write_video


def test_a_run_becomes_a_video_that_browsers_play(recording, tmp_path):
    recording.goals = recording.goals[:1]
    shares = []
    path = tmp_path / "demo.mp4"
    count = write_video(recording, path, fps=5, on_progress=shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (1280, 720)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == count == len(list(frame_times(recording.goals, 5)))
    # The third-person picture is grey 90, H.264 keeps it within a few levels.
    assert np.abs(frames[-1][600:620, 60:80].astype(int) - 90).max() < 8
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_what_lies_between_goals_is_left_out(recording):
    times = list(frame_times(recording.goals, 10))
    assert [goal.instruction for goal, _ in times] == sorted(goal.instruction for goal, _ in times)
    for goal, time_s in times:
        assert goal.began_s - 1.0 < time_s < goal.ended_s + 2.0


def test_a_run_without_goals_has_no_video(tmp_path):
    with pytest.raises(ValueError, match="no goals"):
        write_video(Recording(), tmp_path / "x.mp4")


def test_odd_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be even"):
        VideoWriter(tmp_path / "x.mp4", 33, 32)


def test_frames_of_another_size_are_refused(tmp_path):
    with VideoWriter(tmp_path / "x.mp4", 32, 32) as video:
        video.add(np.zeros((32, 32, 3), dtype=np.uint8))
        with pytest.raises(ValueError, match=r"shape \(16, 32, 3\)"):
            video.add(np.zeros((16, 32, 3), dtype=np.uint8))
