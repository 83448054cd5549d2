"""Tests of the line that is written over."""

from __future__ import annotations

import io
import os
import shutil

import pytest

from dream_vla_ros.nodes.cli import progress as cli_progress
from dream_vla_ros.nodes.cli.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_one_line_cut_to_its_width(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 5)))
    stream = Terminal()
    line = ProgressLine(stream)
    line.show("a long line that does not fit")
    line.show("short")
    line.end()
    line.end()
    assert stream.getvalue() == "\ra long line that do\x1b[K\rshort\x1b[K\n"


def test_a_log_gets_a_line_at_each_change_and_now_and_then(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    line = ProgressLine(stream)
    for text in ("waiting 1", "waiting 2", "executing 3", "executing 4"):
        line.show(text)
        now[0] += 0.1
    now[0] += 10.0
    line.show("executing 5")
    line.end("done")
    assert stream.getvalue().splitlines() == ["waiting 1", "executing 3", "executing 5", "done"]


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_quiet_is_quiet(kind):
    stream = kind()
    line = ProgressLine(stream, enabled=False)
    line.show("x")
    line.end("y")
    assert stream.getvalue() == ""
