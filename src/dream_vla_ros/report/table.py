"""Plain-text tables that line up."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

_GAP = "  "
_NARROWEST = 8  # a wrapped column narrower than a word is unreadable


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), width: int = 100
) -> str:
    """Lay out rows in columns.

    A last column that does not fit is wrapped at words; the columns before it keep their width.

    :param header: Names of the columns.
    :param rows: Cells, one row each as long as the header.
    :param right: Columns aligned to the right, from 0.
    :param width: Widest line in characters.
    :returns: Lines joined by newlines, the header underlined.
    :raises ValueError: If a row is not as long as the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"row {list(row)} has {len(row)} cells, the header {len(header)}")
    widths = [max(_width(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    before = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(width - before, _NARROWEST))
    lines = [_line(header, widths, right), _GAP.join("-" * column for column in widths)]
    for row in rows:
        wrapped = _wrap(row[-1], widths[-1])
        lines.append(_line([*row[:-1], wrapped[0]], widths, right))
        blank = [""] * (len(row) - 1)
        lines.extend(_line([*blank, rest], widths, right) for rest in wrapped[1:])
    return "\n".join(line.rstrip() for line in lines)


def number(value: float, digits: int = 1, unit: str = "") -> str:
    """Write a number with its unit; a dash where there is none.

    :param digits: Places after the point.
    """
    return "-" if math.isnan(value) else f"{value:.{digits}f}{' ' + unit if unit else ''}"


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        blank = " " * (width - _width(cell))
        padded.append(blank + cell if index in right else cell + blank)
    return _GAP.join(padded)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if _width(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines
