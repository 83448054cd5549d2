"""What the visualizer knows of the robot's motion, gathered from its messages."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from dream_vla_msgs.msg import ActionChunk, ControllerState
from dream_vla_ros.chunk import InvalidChunkError
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array
from dream_vla_ros.nodes.conversions import chunk_from_msg, time_from_msg, uuid_from_msg
from dream_vla_ros.report.overlay import Scene

# Positions kept: at ten a second, more than any path that is shown.
_KEPT = 6000
_NO_GOAL = bytes(16)


class MotionSeen:
    """The newest chunk and where the end effector was.

    :param embodiment: Names base frame and workspace.
    :param path_s: How much of the path is shown [s].
    """

    def __init__(self, embodiment: Embodiment, path_s: float) -> None:
        self._embodiment = embodiment
        self._path_ns = round(path_s * 1e9)
        self._measured: deque[tuple[int, Array]] = deque(maxlen=_KEPT)
        self._ahead = np.empty((0, 3))
        self._chunk_goal = self._goal = _NO_GOAL
        self._executing = False

    def on_chunk(self, msg: ActionChunk) -> None:
        """Take in a chunk: it leads on from where the end effector was when its images were taken."""
        try:
            chunk = chunk_from_msg(msg, self._embodiment.frames.base)
        except InvalidChunkError:
            # The controller refuses it and says so.
            return
        start = self._at(chunk.stamp_ns)
        if start is not None:
            self._ahead = start + np.vstack([np.zeros(3), np.cumsum(chunk.translation, axis=0)])
            self._chunk_goal = chunk.goal_id

    def on_state(self, msg: ControllerState) -> None:
        """Take in what the controller does and where the arm is."""
        self._executing = msg.mode in (ControllerState.EXECUTING, ControllerState.HOLDING)
        self._goal = uuid_from_msg(msg.goal_id)
        p = msg.measured.position
        position = np.array([p.x, p.y, p.z])
        stamp_ns = time_from_msg(msg.header.stamp)
        if not np.all(np.isfinite(position)):
            return
        if self._measured and stamp_ns <= self._measured[-1][0]:
            # The clock was put back, or the controller was started again.
            self._measured.clear()
        self._measured.append((stamp_ns, position))

    def scene(self) -> Scene:
        """Return what there is to draw."""
        limits = self._embodiment.limits
        shown = self._executing and self._goal == self._chunk_goal != _NO_GOAL
        behind = np.empty((0, 3))
        if self._measured:
            oldest_ns = self._measured[-1][0] - self._path_ns
            behind = np.array([position for stamp_ns, position in self._measured if stamp_ns >= oldest_ns])
        return Scene(
            self._ahead if shown else np.empty((0, 3)),
            behind,
            self._measured[-1][1] if self._measured else None,
            np.array(limits.workspace_min),
            np.array(limits.workspace_max),
        )

    def _at(self, stamp_ns: int) -> Array | None:
        nearest = min(self._measured, key=lambda entry: abs(entry[0] - stamp_ns), default=(math.inf, None))
        return nearest[1]
