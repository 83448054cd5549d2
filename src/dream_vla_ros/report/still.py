"""One picture that shows a whole run: a tile for each goal, taken in the middle of its motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dream_vla_ros.report.canvas import Canvas, Colour, shorten
from dream_vla_ros.report.frame import BAD, FAINT, GOOD, GROUND, TEXT, Moment, draw_camera
from dream_vla_ros.report.recording import GoalSpan, Recording

_TILE = 400
_INSET = 132
_MARGIN = 16
_HEAD = 46
_FOOT = 40
_FEWEST_MOVES_S = 0.5  # a goal that moved less than this has no middle of a motion to show


def write_still(recording: Recording, path: Path, *, most: int = 3) -> None:
    """Draw the first goals side by side: the first camera large, the second set into its corner.

    :param path: PNG file to write.
    :param most: Most goals to show.
    :raises ValueError: If the recording has no goals or no cameras.
    """
    goals = recording.goals[:most]
    if not goals or not recording.cameras:
        raise ValueError("nothing to show: the recording has no goals or no cameras")
    width = len(goals) * (_TILE + _MARGIN) + _MARGIN
    canvas = Canvas(width, _HEAD + _TILE + _FOOT, GROUND)
    for index, goal in enumerate(goals):
        _tile(canvas, recording, goal, _MARGIN + index * (_TILE + _MARGIN))
    Image.fromarray(canvas.pixels).save(path, optimize=True)


def telling_time(recording: Recording, goal: GoalSpan) -> float:
    """Choose a time that shows the goal being carried out.

    With a block in the gripper and moving, where that happens; else while moving; else the middle.
    """
    length = goal.ended_s - goal.began_s
    moving = [
        (time_s, command)
        for time_s, command in recording.commands.between(goal.began_s + 0.1 * length, goal.ended_s)
        if np.linalg.norm(command.linear) > 0.03
    ]
    closed = [time_s for time_s, command in moving if command.gripper < 0.5]
    times = closed or [time_s for time_s, _ in moving]
    if len(times) < 2 or times[-1] - times[0] < _FEWEST_MOVES_S:
        return goal.began_s + 0.5 * length
    return times[len(times) // 2]


def _tile(canvas: Canvas, recording: Recording, goal: GoalSpan, left: int) -> None:
    time_s = telling_time(recording, goal)
    moment = Moment.of(recording, goal, time_s)
    cameras = list(recording.cameras.values())
    draw_camera(canvas, cameras[0], moment, time_s, left, _HEAD, _TILE)
    for index, camera in enumerate(cameras[1:]):
        inset = left + _TILE - (index + 1) * (_INSET + 8)
        canvas.rectangle(inset - 2, _HEAD + 6, _INSET + 4, _INSET + 4, GROUND)
        draw_camera(canvas, camera, moment, time_s, inset, _HEAD + 8, _INSET)
    words = shorten(f"“{goal.instruction}”", 17, _TILE, bold=True)
    canvas.text(words, left, _HEAD / 2 + 2, 17, TEXT, bold=True)
    _result(canvas, recording, goal, left)


def _result(canvas: Canvas, recording: Recording, goal: GoalSpan, left: int) -> None:
    middle = _HEAD + _TILE + _FOOT / 2
    colour: Colour = {True: GOOD, False: BAD, None: TEXT}[goal.reached]
    word = {True: "done", False: "not done", None: goal.outcome}[goal.reached]
    at = left + canvas.text(word, left, middle, 16, colour, bold=True)
    canvas.text(f"after {goal.ended_s - goal.began_s:.1f} s", at + 10, middle, 16, TEXT)
    source = recording.warning or recording.source
    canvas.text(source, left + _TILE, middle, 14, BAD if recording.warning else FAINT, align="right")
