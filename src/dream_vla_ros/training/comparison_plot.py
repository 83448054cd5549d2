"""What variants of a training came to, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dream_vla_ros.training.rates import Rate

_COLOURS = ("#1f77b4", "#e4572e", "#2a9d5c", "#8b5fbf")
_BAR = 0.8


def write_comparison(path: Path, comparisons: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw the successes of every variant with their 95 % intervals, one panel per comparison.

    :param path: PNG file to write.
    :param comparisons: Results by comparison: each names its ``variant``, its ``tries`` of each kind of task
        and the ``successes`` by kind.
    """
    widths = [max(len(results), 2) for results in comparisons.values()]
    figure = Figure(figsize=(2.0 + 1.3 * sum(widths), 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)
    for axis, (name, results) in zip(axes[0], comparisons.items(), strict=True):
        _draw(axis, name, results)
    axes[0, 0].set_ylabel("success [%]")
    axes[0, -1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path)


def _draw(axis: Any, name: str, results: Sequence[Mapping[str, Any]]) -> None:
    kinds = list(results[0]["successes"])
    width = _BAR / len(kinds)
    places = np.arange(len(results), dtype=np.float64)
    for number, kind in enumerate(kinds):
        rates = [Rate(one["successes"][kind], one["tries"]) for one in results]
        shares = 100.0 * np.array([rate.share for rate in rates])
        bounds = 100.0 * np.array([rate.interval for rate in rates]).T
        reach = np.maximum([shares - bounds[0], bounds[1] - shares], 0.0)
        left = places + (number - (len(kinds) - 1) / 2) * width
        colour = _COLOURS[number % len(_COLOURS)]
        axis.bar(left, shares, width, yerr=reach, color=colour, capsize=2, error_kw={"lw": 0.8}, label=kind)
    labels = [str(one["variant"]).replace("-", "\n") for one in results]
    axis.set_xticks(places, labels, fontsize=8)
    axis.set(title=name, ylim=(0.0, 100.0))
    axis.grid(True, axis="y", alpha=0.25)
    axis.set_axisbelow(True)
