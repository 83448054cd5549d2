"""One picture of a run: what the cameras see and what is commanded, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import Pose
from dream_vla_ros.images import RGBImage
from dream_vla_ros.report.canvas import Canvas, Colour, fit, shorten
from dream_vla_ros.report.recording import (
    CameraTrack,
    ChunkSeen,
    Command,
    ControllerSeen,
    GoalSpan,
    Recording,
)

WIDTH, HEIGHT = 1280, 720  # what every player and browser shows without scaling trouble
_HEADER = 64
_IMAGE = 576
_FOOTER_MIDDLE = 681

GROUND: Colour = (17, 21, 28)
TEXT: Colour = (236, 239, 244)
FAINT: Colour = (136, 146, 160)
_SLOT: Colour = (48, 56, 68)
COMMAND: Colour = (255, 190, 40)
PATH: Colour = (90, 200, 250)
GOOD: Colour = (88, 200, 120)
BAD: Colour = (245, 96, 84)
_MODES: dict[str, Colour] = {"executing": GOOD, "stopped": BAD, "no state": BAD, "holding": COMMAND}

# The arrow shows where the commanded velocity would lead in this time; long enough to see a slow motion.
_ARROW_S = 0.6
# Slower commands are a hold and get no arrow.
_SLOWEST_M_S = 0.004
# A chunk older than this is not what the arm does now.
_CHUNK_SHOWN_S = 3.0


@dataclass(frozen=True, eq=False)
class Moment:
    """What is known of one time of a run."""

    elapsed_s: float
    end_effector: Pose | None
    command: Command | None
    chunk: ChunkSeen | None
    controller: ControllerSeen | None

    @classmethod
    def of(cls, recording: Recording, goal: GoalSpan, time_s: float) -> Moment:
        """Look a time up in a recording."""
        running = goal.began_s <= time_s <= goal.ended_s
        chunk = recording.chunks.at(time_s, _CHUNK_SHOWN_S) if running else None
        return cls(
            min(max(time_s, goal.began_s), goal.ended_s) - goal.began_s,
            recording.measured.at(time_s, max_age_s=0.5),
            recording.commands.at(time_s, max_age_s=0.2),
            chunk,
            recording.controller.at(time_s, max_age_s=1.0),
        )


def draw_frame(recording: Recording, goal: GoalSpan, time_s: float) -> RGBImage:
    """Draw one frame of the video.

    :param goal: The goal the time belongs to.
    :param time_s: On the recording's clock.
    :returns: (720, 1280, 3) uint8 RGB.
    """
    moment = Moment.of(recording, goal, time_s)
    canvas = Canvas(WIDTH, HEIGHT, GROUND)
    gap = (WIDTH - len(recording.cameras) * _IMAGE) // (len(recording.cameras) + 1)
    for index, (name, camera) in enumerate(recording.cameras.items()):
        left = gap + index * (_IMAGE + gap)
        draw_camera(canvas, camera, moment, time_s, left, _HEADER, _IMAGE)
        _caption(canvas, name.replace("_", " "), left + 12, _HEADER + 20)
    _header(canvas, recording, goal, moment, time_s, gap)
    _footer(canvas, moment, gap)
    return canvas.pixels


def draw_camera(
    canvas: Canvas, camera: CameraTrack, moment: Moment, time_s: float, left: int, top: int, side: int
) -> None:
    """Draw what a camera sees, with the chunk's path and the commanded motion in it.

    :param left: Where the square goes.
    :param top: Where the square goes.
    :param side: Its side [pixels].
    """
    image = camera.at(time_s)
    if image is None:
        canvas.rectangle(left, top, side, side, _SLOT)
        canvas.text("no image", left + side / 2, top + side / 2, 22, FAINT, align="middle")
        return
    picture = Canvas(side, side)
    picture.paste(fit(image, side, side), 0, 0)
    pose = camera.pose_in_base(moment.end_effector)
    if camera.optics is not None and pose is not None and moment.end_effector is not None:
        _draw_motion(picture, camera, pose, moment.end_effector, moment)
    canvas.paste(picture.pixels, left, top)


def _draw_motion(
    picture: Canvas, camera: CameraTrack, pose: Pose, end_effector: Pose, moment: Moment
) -> None:
    side = picture.pixels.shape[0]
    assert camera.optics is not None
    optics = camera.optics.scaled(side, side)
    here = end_effector.position
    scale = side / _IMAGE
    if moment.chunk is not None and moment.controller is not None and moment.controller.mode == "executing":
        ahead = moment.chunk.chunk.translation
        if moment.controller.chunk_id == moment.chunk.chunk.chunk_id:
            ahead = ahead[moment.controller.step :]
        path = optics.project(here + np.vstack([np.zeros(3), np.cumsum(ahead, axis=0)]), pose)
        picture.line(path, (16, 16, 16), 4.0 * scale)
        picture.line(path, PATH, 2.0 * scale)
        for point in path[1:]:
            if np.all(np.isfinite(point)):
                picture.disc(point, 3.5 * scale, PATH)
    command = moment.command
    if command is None:
        return
    at = optics.project(here, pose)[0]
    if np.linalg.norm(command.linear) > _SLOWEST_M_S:
        tip = optics.project(here + command.linear * _ARROW_S, pose)[0]
        picture.arrow(at, tip, COMMAND, 5.0 * scale)
    if np.all(np.isfinite(at)):
        picture.disc(at, 6.5 * scale, (16, 16, 16))
        picture.disc(at, 5.0 * scale, COMMAND)


def _caption(canvas: Canvas, text: str, left: int, middle: int) -> None:
    canvas.text(text, left + 1, middle + 1, 16, (0, 0, 0), bold=True)
    canvas.text(text, left, middle, 16, (255, 255, 255), bold=True)


def _header(
    canvas: Canvas, recording: Recording, goal: GoalSpan, moment: Moment, time_s: float, gap: int
) -> None:
    right = float(WIDTH - gap)
    middle = _HEADER / 2
    if time_s >= goal.ended_s and goal.outcome:
        mark = {True: "done", False: "not done", None: ""}[goal.reached]
        colour = {True: GOOD, False: BAD, None: TEXT}[goal.reached]
        words = f"{goal.outcome}{', ' if mark else ''}{mark}"
    else:
        words, colour = f"{moment.elapsed_s:.1f} s", TEXT
    right -= canvas.text(words, right, middle, 22, colour, align="right", bold=True) + 22
    if recording.warning:
        right -= canvas.text(recording.warning, right, middle, 17, BAD, align="right", bold=True) + 16
    if recording.source:
        right -= canvas.text(recording.source, right, middle, 17, FAINT, align="right") + 24
    canvas.text(
        shorten(f"“{goal.instruction}”", 26, right - gap, bold=True), gap, middle, 26, TEXT, bold=True
    )


def _footer(canvas: Canvas, moment: Moment, gap: int) -> None:
    middle = _FOOTER_MIDDLE
    mode = moment.controller.mode if moment.controller else "no controller"
    canvas.disc((gap + 8, middle), 7.0, _MODES.get(mode, FAINT))
    canvas.text(mode, gap + 26, middle, 20, TEXT)
    _footer_chunk(canvas, moment, gap + 180, middle)
    latency = "–" if moment.chunk is None else f"{1000 * moment.chunk.latency_s:.0f} ms"
    _figure(canvas, "latency", latency, gap + 640, middle)
    speed = 0.0 if moment.command is None else float(np.linalg.norm(moment.command.linear))
    _figure(canvas, "commanded", f"{1000 * speed:.0f} mm/s", gap + 800, middle)
    _footer_gripper(canvas, moment, WIDTH - gap - 176, middle)


def _figure(canvas: Canvas, name: str, value: str, left: int, middle: int) -> None:
    canvas.text(name, left, middle - 12, 14, FAINT)
    canvas.text(value, left, middle + 10, 20, TEXT)


def _footer_chunk(canvas: Canvas, moment: Moment, left: int, middle: int) -> None:
    seen, state = moment.chunk, moment.controller
    number = state.chunk_id if state and state.chunk_id else None
    _figure(canvas, "chunk", f"#{number}" if number else "–", left, middle)
    if seen is None:
        return
    # Wide chunks get narrow boxes, so that any length fits between the number and the latency.
    pitch = min(30, 300 // len(seen.chunk))
    for step in range(len(seen.chunk)):
        now = number is not None and state is not None and mode_runs(state) and step == state.step
        colour = COMMAND if now else PATH if state and step > state.step else _SLOT
        canvas.rectangle(left + 100 + step * pitch, middle - 10, pitch - 4, 20, colour)


def mode_runs(state: ControllerSeen) -> bool:
    """Tell whether the controller carries out a chunk."""
    return state.mode == "executing"


def _footer_gripper(canvas: Canvas, moment: Moment, left: int, middle: int) -> None:
    opening = moment.command.gripper if moment.command and np.isfinite(moment.command.gripper) else None
    word = "–" if opening is None else "open" if opening > 0.5 else "closed"
    _figure(canvas, "gripper", word, left, middle)
    # Two fingers, apart by the commanded opening.
    centre, half = left + 136, 8 + 26 * (0.0 if opening is None else min(max(opening, 0.0), 1.0))
    for side in (-1, 1):
        canvas.rectangle(
            round(centre + side * half) - 5, middle - 16, 10, 32, COMMAND if opening is not None else _SLOT
        )
