"""Pictures of episodes, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dream_vla_ros.data.view import View
from dream_vla_ros.geometry import Array

_DPI = 110
_INK, _LIGHT = "#1f4e79", "#c55a11"
# Four millimetres, or the like: an axis drawn finer shows the noise of an arm that stands still.
_LEAST_SPAN = 4e-3
_MOST_LINES = 40


def contact_sheet(views: Sequence[View], path: Path) -> None:
    """Draw some frames of each episode and camera, one row each."""
    rows = [(view, name) for view in views for name in view.cameras]
    columns = max((len(view.cameras[name].thumbnails) for view, name in rows), default=1)
    figure = _figure(1.7 * columns, 1.6 * max(1, len(rows)))
    for row, (view, name) in enumerate(rows):
        for column, (frame, image) in enumerate(view.cameras[name].thumbnails):
            axes = figure.add_subplot(len(rows), columns, row * columns + column + 1)
            axes.imshow(image)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(f"{view.stamps_s[frame]:.1f} s", fontsize=7, labelpad=1)
            if column == 0:
                axes.set_title(
                    f"{view.name}, {name}: {_short(view.instruction)}", fontsize=8, loc="left", pad=3
                )
    _save(figure, path)


def series(views: Sequence[View], path: Path) -> None:
    """Draw actions and state over time, one column for each episode."""
    shown = list(views[:3])
    rows = max(view.actions.shape[1] + view.state.shape[1] for view in shown)
    height, width = 0.9 * rows + 0.8, 4.6 * len(shown)
    # Laid out by hand: with this many axes the automatic layout takes seconds.
    figure = Figure(figsize=(width, height), dpi=_DPI)
    figure.subplots_adjust(1.1 / width, 0.45 / height, 0.99, 1.0 - 0.35 / height, 0.35, 0.35)
    for column, view in enumerate(shown):
        numbers = [(f"action {name}", view.actions[:, i], _INK) for i, name in enumerate(view.action_names)]
        numbers += [(f"state {name}", view.state[:, i], _LIGHT) for i, name in enumerate(view.state_names)]
        for row, (name, values, colour) in enumerate(numbers):
            axes = figure.add_subplot(rows, len(shown), row * len(shown) + column + 1)
            axes.step(view.stamps_s, values, where="post", color=colour, linewidth=0.9)
            if len(values) and np.ptp(values) < _LEAST_SPAN:
                middle = float(np.mean(values))
                axes.set_ylim(middle - _LEAST_SPAN / 2.0, middle + _LEAST_SPAN / 2.0)
            axes.ticklabel_format(axis="y", useOffset=False)
            axes.set_ylabel(name.replace(" ", "\n"), fontsize=7, rotation=0, ha="right", va="center")
            axes.yaxis.set_label_coords(-0.14, 0.5)
            _plain(axes)
            axes.tick_params(labelbottom=row == len(numbers) - 1)
            if row == 0:
                axes.set_title(f"{view.name}: {_short(view.instruction, 40)}", fontsize=8, loc="left")
            if row == len(numbers) - 1:
                axes.set_xlabel("time [s]", fontsize=7)
    _save(figure, path)


def periods(views: Sequence[View], path: Path) -> None:
    """Draw how the capture times of the images are spread."""
    names = list(views[0].cameras)
    figure = _figure(6.0, 2.3 * max(1, len(names)))
    for row, name in enumerate(names):
        steps = [view.cameras[name].intervals_s for view in views if name in view.cameras]
        milliseconds = 1e3 * np.concatenate([np.zeros(0), *steps])
        axes = figure.add_subplot(len(names), 1, row + 1)
        if len(milliseconds):
            typical = float(np.median(milliseconds))
            least, most = float(milliseconds.min()), float(milliseconds.max())
            spread = (min(least, 0.5 * typical), max(most, 1.5 * typical, 1.0))
            axes.hist(milliseconds, bins=60, range=spread, color=_INK)
            axes.axvline(typical, color=_LIGHT, linewidth=1.0)
        axes.set_title(
            f"{name}: time between successive images; the line is the median", fontsize=8, loc="left"
        )
        axes.set_xlabel("ms", fontsize=7)
        _plain(axes)
    _save(figure, path)


def gripper(views: Sequence[View], path: Path) -> None:
    """Draw what the gripper was told and where it was, one line for each episode."""
    shown = [view for view in views if view.command is not None][:_MOST_LINES]
    figure = _figure(8.0, 0.7 * max(1, len(shown)) + 0.8)
    for row, view in enumerate(shown):
        axes = figure.add_subplot(len(shown), 1, row + 1)
        command: Array = np.zeros(0) if view.command is None else view.command
        axes.step(view.stamps_s, command, where="post", color=_INK, linewidth=1.2, label="command")
        if view.opening is not None:
            axes.plot(view.stamps_s, view.opening, color=_LIGHT, linewidth=1.0, label="measured opening")
        axes.set_ylabel(view.name, fontsize=6, rotation=0, ha="right", va="center")
        axes.set_ylim(min(-0.1, float(command.min()) - 0.1), max(1.1, float(command.max()) + 0.1))
        _plain(axes)
        if row == 0:
            axes.legend(fontsize=7, loc="upper right", ncols=2, frameon=False)
            axes.set_title("gripper: 1 is open, 0 is closed", fontsize=8, loc="left")
        if row == len(shown) - 1:
            axes.set_xlabel("time [s]", fontsize=7)
    _save(figure, path)


def draw_all(views: Sequence[View], folder: Path) -> list[Path]:
    """Draw everything there is.

    :returns: The files, in the order they are best looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in (
        ("contact_sheet", contact_sheet),
        ("series", series),
        ("periods", periods),
        ("gripper", gripper),
    ):
        path = folder / f"{name}.png"
        draw(views, path)
        paths.append(path)
    return paths


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(max(4.0, width), max(2.0, height)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    # Without its own name and date in it the same data give the same file.
    figure.savefig(path, metadata={"Software": None})


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
