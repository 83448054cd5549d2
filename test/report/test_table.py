"""Tests of plain-text tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.report.table import number, table


def test_columns_line_up():
    text = table(("goal", "chunks"), [("pick", "7"), ("push", "123")], right=(1,))
    assert text.splitlines() == ["goal  chunks", "----  ------", "pick       7", "push     123"]


def test_last_column_wraps_at_words():
    text = table(("a", "why"), [("x", "one two three four five")], width=16)
    assert text.splitlines() == ["a  why", "-  -------------", "x  one two three", "   four five"]


def test_wide_characters_keep_the_columns():
    lines = table(("a", "b"), [("赤い", "x"), ("red", "y")]).splitlines()
    assert lines[2] == "赤い  x"
    assert lines[3] == "red   y"


def test_short_rows_are_refused():
    with pytest.raises(ValueError, match="1 cells"):
        table(("a", "b"), [("x",)])


words = st.text(alphabet="abcdefgh ", max_size=60).map(str.strip)


@given(st.lists(st.tuples(st.text("ab", max_size=10), words), max_size=6))
def test_lines_fit_and_nothing_is_lost(rows):
    lines = table(("key", "text"), rows, width=40).splitlines()
    longest_word = max((len(word) for _, text in rows for word in text.split()), default=0)
    assert all(len(line) <= max(40, 12 + longest_word) for line in lines)
    said = " ".join(lines[2:]).split()
    assert sorted(said) == sorted(word for row in rows for cell in row for word in cell.split())


def test_number():
    assert number(1.25, 1, "Hz") == "1.2 Hz"
    assert number(3.0, 0) == "3"
    assert number(math.nan, 2, "s") == "-"
