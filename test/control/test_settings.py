"""Limits that do not let the arm stop in time are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_bench import embodiment

from dream_vla_ros.control import Controller, ControlSettings
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.parameters import ParameterError

NO_JERK_LIMIT = {"limits__linear_jerk": 1e9, "limits__angular_jerk": 1e9}
CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_robot_can_stop_in_time(path: Path):
    Controller(Embodiment.from_file(path))


@pytest.mark.parametrize("kind", ["linear", "angular"])
def test_limits_that_are_too_slow_are_refused_by_name(kind: str):
    robot = embodiment(**{f"limits__{kind}_speed": 1.0, f"limits__{kind}_acceleration": 5.0, **NO_JERK_LIMIT})
    with pytest.raises(ParameterError, match=rf"limits\.{kind}_speed 1\.0 .* 0\.220 s .* stop_time 0\.2 s"):
        Controller(robot)
    Controller(robot, ControlSettings(stop_time=0.25))


@pytest.mark.parametrize("kind", ["linear", "angular"])
def test_a_jerk_limit_that_takes_too_long_is_refused_by_name(kind: str):
    robot = embodiment(**NO_JERK_LIMIT | {f"limits__{kind}_jerk": 30.0})
    with pytest.raises(ParameterError, match=rf"limits\.{kind}_jerk 30\.0.* more than stop_time 0\.2 s"):
        Controller(robot)
    Controller(robot, ControlSettings(stop_time=1.0))
