"""Limits that do not let the arm stop in time are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_bench import embodiment

from dream_vla_ros.control import Controller, ControlSettings
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.parameters import ParameterError

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_robot_can_stop_in_time(path: Path):
    Controller(Embodiment.from_file(path))


@pytest.mark.parametrize("kind", ["linear", "angular"])
def test_limits_that_are_too_slow_are_refused_by_name(kind: str):
    robot = embodiment(**{f"limits__{kind}_speed": 1.0, f"limits__{kind}_acceleration": 5.0})
    with pytest.raises(ParameterError, match=rf"limits\.{kind}_speed 1\.0 .* 0\.220 s .* stop_time 0\.2 s"):
        Controller(robot)
    Controller(robot, ControlSettings(stop_time=0.25))
