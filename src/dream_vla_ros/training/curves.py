"""The curves of a training as a picture for the model card."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_LOSS = "#1f77b4"
_PARTS = ("#2a9d5c", "#8b5fbf", "#b8860b", "#17a2a2", "#555555")
_HELD_OUT = "#e4572e"
_RATE = "#999999"
# Of the points; enough to see the way through the noise of single batches.
_SMOOTHED = 0.03
_TAIL = "loss"


def write_curves(path: Path, stages: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> bool:
    """Draw losses, held-out error and learning rate of each stage that has metrics.

    :param path: PNG file to write.
    :param stages: Names and lines of metrics.
    :returns: Whether there was anything to draw.
    """
    drawn = [(name, entries) for name, entries in stages if len(entries) > 1]
    if not drawn:
        return False
    figure = Figure(figsize=(5.6 * len(drawn), 4.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, len(drawn), squeeze=False)
    parts = dict.fromkeys(key for _, entries in drawn for key in _parts(entries))
    colours = dict(zip(parts, itertools.cycle(_PARTS), strict=False))
    for axis, (name, entries) in zip(axes[0], drawn, strict=True):
        _draw(axis, name, entries, colours)
    figure.savefig(path)
    return True


def smoothed(values: Sequence[float], width: int) -> np.ndarray:
    """Return running means over so many neighbours, fewer at both ends."""
    numbers = np.asarray(values, dtype=np.float64)
    reach = max(width // 2, 0)
    sums = np.concatenate([[0.0], np.cumsum(numbers)])
    at = np.arange(len(numbers))
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(numbers))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _parts(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key for key in entries[-1] if key.endswith(_TAIL) and key != _TAIL]


def _draw(axis: Any, name: str, entries: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> None:
    parts = _parts(entries)
    for key, colour in [(_TAIL, _LOSS), *((part, colours[part]) for part in parts)]:
        steps, values = _series(entries, key)
        if not len(steps):
            continue
        if key == _TAIL:
            axis.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
        width = round(_SMOOTHED * len(values))
        line = 1.8 if key == _TAIL else 1.1
        label = key.replace("_", " ")
        axis.plot(steps, smoothed(values, width), color=colour, linewidth=line, label=label)
    steps, values = _series(entries, "action_error")
    if len(steps):
        label = "action error, held out"
        axis.plot(steps, values, "o-", color=_HELD_OUT, markersize=3.5, linewidth=1.2, label=label)
    positive = all(min(_series(entries, key)[1], default=1.0) > 0.0 for key in (_TAIL, *parts))
    axis.set(title=name.replace("_", " "), xlabel="step", yscale="log" if positive else "linear")
    axis.grid(True, which="major", alpha=0.25)
    axis.legend(fontsize=8, frameon=False)
    steps, rates = _series(entries, "learning_rate")
    if len(steps):
        other = axis.twinx()
        other.plot(steps, rates, color=_RATE, linewidth=0.9, linestyle=":")
        other.set_ylim(0.0, max(rates) * 1.15 or 1.0)
        other.tick_params(labelsize=7, colors=_RATE)
        other.set_ylabel("learning rate, dotted", fontsize=7, color=_RATE)


def _series(entries: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    found = [(entry["step"], entry[key]) for entry in entries if entry.get(key) is not None]
    return [step for step, _ in found], [value for _, value in found]
