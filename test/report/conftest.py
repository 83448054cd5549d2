"""A small run made by hand: two goals, two cameras, an arm that moves at constant speed."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.geometry import Pose
from dream_vla_ros.report.frame_spool import FrameSpool
from dream_vla_ros.report.projection import PinholeCamera
from dream_vla_ros.report.recording import (
    CameraTrack,
    ChunkSeen,
    Command,
    ControllerSeen,
    GoalSpan,
    Recording,
)

SIZE = 64
SPEED = np.array([0.0, 0.1, 0.0])
# Half a metre above the table, looking straight down, the image's up being the robot's forward.
OVERHEAD = Pose.from_matrix(
    np.array([[0.0, -1.0, 0.0, 0.3], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.6], [0.0, 0.0, 0.0, 1.0]])
)
MATRIX = np.array([[80.0, 0.0, 31.5], [0.0, 80.0, 31.5], [0.0, 0.0, 1.0]])


@pytest.fixture
def recording():
    """Make a run of two goals of two seconds, one second apart."""
    run = Recording(source="scripted expert")
    optics = PinholeCamera(MATRIX, SIZE, SIZE)
    run.cameras["third_person"] = CameraTrack(FrameSpool(), optics=optics, pose=OVERHEAD)
    run.cameras["wrist"] = CameraTrack(FrameSpool())
    for index in range(2):
        began = 10.0 + 3.0 * index
        for tick in range(101):
            now = began + 0.02 * tick
            position = np.array([0.3, -0.1, 0.1]) + SPEED * 0.02 * tick
            run.measured.add(now, Pose(position, np.array([0.0, 0.0, 0.0, 1.0])))
            run.target.add(now, Pose(position + 0.002, np.array([0.0, 0.0, 0.0, 1.0])))
            run.commands.add(now, Command(SPEED, np.zeros(3), 1.0 if tick < 50 else 0.0))
            run.controller.add(now, ControllerSeen("executing", index + 1, tick // 25))
            if tick % 5 == 0:
                for name, grey in (("third_person", 90), ("wrist", 160)):
                    run.cameras[name].add(now, np.full((SIZE, SIZE, 3), grey, dtype=np.uint8))
        steps = np.tile(SPEED * 0.2, (8, 1))
        chunk = ActionChunk(steps, np.zeros((8, 3)), np.ones(8), 0.2, 0, bytes(16), index + 1)
        run.chunks.add(began, ChunkSeen(chunk, 0.1))
        run.goals.append(GoalSpan(f"goal {index}", began, began + 2.0, "settled", index == 0))
    return run
