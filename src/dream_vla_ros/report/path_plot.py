"""The way of the end effector as a plot: in space, and over time against what was commanded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.report.recording import GoalSpan, Recording, Track

_COLOURS = ("#1f77b4", "#e4572e", "#2a9d5c", "#8b5fbf", "#b8860b", "#555555")
_AXES = ("x, forward", "y, left", "z, up")
_GAP_S = 0.6  # what lies between two goals is cut out and shown as this much room


def write_path_plot(recording: Recording, path: Path, *, title: str = "") -> None:
    """Plot where the end effector was and where the controller wanted it.

    :param path: PNG file to write.
    :param title: Above everything.
    :raises ValueError: If the recording has no goals.
    """
    if not recording.goals:
        raise ValueError("nothing to plot: the recording has no goals")
    figure = Figure(figsize=(13.0, 8.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.0, 1.25))
    _space(parts[0], recording)
    _time(parts[1], recording)
    if title:
        figure.suptitle(title, fontsize=13)
    figure.savefig(path)


def _space(part: Any, recording: Recording) -> None:
    grid = part.add_gridspec(2, 1, height_ratios=(1.5, 1.0))
    space = part.add_subplot(grid[0], projection="3d")
    top = part.add_subplot(grid[1])
    for goal, colour in zip(recording.goals, _cycle(), strict=False):
        points = _positions(recording.measured, goal)[1]
        if not len(points):
            continue
        label = f"{goal.instruction}: {goal.outcome}" if goal.outcome else goal.instruction
        space.plot(*points.T, color=colour, linewidth=1.6, label=label)
        space.scatter(*points[-1], color=colour, s=28)
        top.plot(points[:, 1], points[:, 0], color=colour, linewidth=1.6)
        top.plot(points[0, 1], points[0, 0], "o", markerfacecolor="white", markeredgecolor=colour)
        top.plot(points[-1, 1], points[-1, 0], "o", color=colour)
    space.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")
    space.set_title("way of the end effector", fontsize=11)
    space.view_init(elev=24.0, azim=-150.0)
    space.set_box_aspect(None)
    if space.get_legend_handles_labels()[1]:
        space.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=8.5, frameon=False)
    # As the robot sees it: forward is up, left is left.
    top.set(xlabel="y, left [m]", ylabel="x, forward [m]", aspect="equal", adjustable="datalim")
    top.invert_xaxis()
    top.set_title("from above (ring: start, dot: end)", fontsize=11)
    top.grid(alpha=0.3)


def _time(part: Any, recording: Recording) -> None:
    axes = part.subplots(5, 1, sharex=True, height_ratios=(1.0, 1.0, 1.0, 0.8, 0.5))
    begin = 0.0
    for goal, colour in zip(recording.goals, _cycle(), strict=False):
        shift = begin - goal.began_s
        for axis in axes:
            axis.axvspan(begin, goal.ended_s + shift, color=colour, alpha=0.07, linewidth=0)
        _positions_over_time(axes[:3], recording, goal, shift, first=begin == 0.0)
        _speed_over_time(axes[3], recording, goal, shift)
        grip = [(t + shift, c.gripper) for t, c in recording.commands.between(goal.began_s, goal.ended_s)]
        if grip:
            axes[4].step(*zip(*grip, strict=True), color="#333333", linewidth=1.2, where="post")
        axes[0].text(
            begin + 0.01,
            1.03,
            goal.instruction,
            color=colour,
            fontsize=7.5,
            transform=axes[0].get_xaxis_transform(),
        )
        begin = goal.ended_s + shift + _GAP_S
    for axis, name in zip(axes[:3], _AXES, strict=True):
        axis.set_ylabel(f"{name} [m]")
    axes[3].set_ylabel("speed [m/s]")
    axes[4].set_ylabel("gripper")
    axes[4].set_yticks((0.0, 1.0), ("closed", "open"))
    axes[4].set_ylim(-0.15, 1.15)
    axes[4].set_xlabel("time [s], what lies between the goals left out")
    for axis in axes:
        axis.grid(alpha=0.3)
    if axes[0].get_legend_handles_labels()[1]:
        axes[0].legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.14),
            fontsize=8.5,
            ncols=2,
            frameon=False,
            borderaxespad=0.0,
        )


def _positions_over_time(
    axes: Any, recording: Recording, goal: GoalSpan, shift: float, *, first: bool
) -> None:
    for track, colour, width, name in (
        (recording.target, "#f0a000", 2.6, "commanded"),
        (recording.measured, "#1a1a1a", 1.0, "measured"),
    ):
        times, points = _positions(track, goal)
        for index, axis in enumerate(axes):
            label = name if first and index == 0 else None
            if len(points):
                axis.plot(times + shift, points[:, index], color=colour, linewidth=width, label=label)


def _speed_over_time(axis: Any, recording: Recording, goal: GoalSpan, shift: float) -> None:
    commands = list(recording.commands.between(goal.began_s, goal.ended_s))
    if commands:
        speeds = [float(np.linalg.norm(command.linear)) for _, command in commands]
        axis.plot(np.array([t for t, _ in commands]) + shift, speeds, color="#f0a000", linewidth=1.6)
    times, points = _positions(recording.measured, goal)
    if len(points) > 5:
        # Over a tenth of a second, so that the noise of single samples does not hide the motion.
        even = np.arange(times[0], times[-1], 0.1)
        smooth = np.column_stack([np.interp(even, times, points[:, index]) for index in range(3)])
        speeds = np.linalg.norm(np.diff(smooth, axis=0), axis=1) / 0.1
        axis.plot(
            even[1:] - 0.05 + shift,
            speeds,
            color="#1a1a1a",
            linewidth=1.0,
        )


def _positions(track: Track[Pose], goal: GoalSpan) -> tuple[Array, Array]:
    seen = list(track.between(goal.began_s, goal.ended_s))
    times = np.array([time_s for time_s, _ in seen])
    return times, np.array([pose.position for _, pose in seen]).reshape(-1, 3)


def _cycle() -> tuple[str, ...]:
    return _COLOURS * 8
