"""Tests of the plot of the end effector's way."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dream_vla_ros.report.path_plot import write_path_plot
from dream_vla_ros.report.recording import Recording

COMMANDED = (240, 160, 0)


def shows(path, colour):
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (np.abs(image - colour).max(axis=2) < 12).sum()


def test_plot_shows_what_was_commanded_and_measured(recording, tmp_path):
    path = tmp_path / "ee_path.png"
    write_path_plot(recording, path, title="a run")
    assert Image.open(path).size == (1430, 880)
    with_commands = shows(path, COMMANDED)
    assert with_commands > 500
    silent = Recording(measured=recording.measured, goals=recording.goals)
    write_path_plot(silent, path)
    assert shows(path, COMMANDED) < 0.1 * with_commands


def test_goals_without_motion_are_plotted_all_the_same(recording, tmp_path):
    path = tmp_path / "ee_path.png"
    write_path_plot(Recording(goals=recording.goals), path)
    assert path.stat().st_size > 0


def test_a_run_without_goals_has_no_plot(tmp_path):
    with pytest.raises(ValueError, match="no goals"):
        write_path_plot(Recording(), tmp_path / "x.png")
