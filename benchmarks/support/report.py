"""Tables and plots of measured rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def markdown(rows: Sequence[Any], columns: dict[str, Callable[[Any], str]]) -> str:
    """Return rows as a Markdown table.

    :param columns: Heading to what stands below it.
    """
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(cell(row) for cell in columns.values())} |" for row in rows]
    return "\n".join(lines)


def bars(panels: dict[str, Sequence[tuple[str, float, float, float, float, float]]], path: Path) -> None:
    """Draw one panel of horizontal bars per setting.

    :param panels: Title to rows of name, median, lower and upper quartile, least possible time [ms],
        and speed-up.
    """
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    most = max(len(rows) for rows in panels.values())
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(6 * len(panels), 1.2 + 0.32 * most), layout="constrained", squeeze=False
    )
    for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
        places = range(len(rows))
        medians = [row[1] for row in rows]
        spread = [[row[1] - row[2] for row in rows], [row[3] - row[1] for row in rows]]
        axis.barh(places, medians, xerr=spread, capsize=2, color="#4477aa")
        axis.axvline(rows[0][4], color="#cc3311", linestyle="--", label="least time of the exact products")
        for place, row in zip(places, rows, strict=True):
            text = f"  {row[1]:.0f} ms, {row[5]:.2f}x"
            axis.text(max(row[1], row[3]), place, text, va="center", fontsize=8)
        axis.set_yticks(places, [row[0] for row in rows])
        axis.invert_yaxis()
        axis.set_xlim(0, 1.4 * max(row[3] for row in rows))
        axis.set_xlabel("time per chunk [ms], median and quartiles")
        axis.set_title(title, fontsize=10)
        axis.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def lines(
    series: dict[str, Sequence[tuple[float, float]]], path: Path, x_label: str, y_label: str, title: str
) -> None:
    """Draw one line per series over logarithmic y."""
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, points in series.items():
        axis.plot([x for x, _ in points], [y for _, y in points], "o-", label=name)
    axis.set_yscale("log")
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.set_title(title, fontsize=10)
    axis.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
