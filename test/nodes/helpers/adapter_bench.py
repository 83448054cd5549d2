"""Commands and robots for tests of adapters, and the robots' own message packages."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ros_graph import Graph

from dream_vla_ros import embodiment as robot
from dream_vla_ros.control import Cause, Command, Counters, Mode, Reason
from dream_vla_ros.geometry import Pose, quaternion_from_rpy
from dream_vla_ros.nodes.adapters import Adapter, AdapterError

START_NS = 1_700_000_000_000_000_000
TICK_NS = 20_000_000
TICK_S = 0.02
TARGET = Pose(np.array([0.3, -0.1, 0.2]), quaternion_from_rpy([0.3, 0.2, 0.1]))
STANDS = {"linear": np.zeros(3), "angular": np.zeros(3)}
_BUILD = Path(os.environ.get("DREAM_VLA_BUILD", Path(__file__).parents[3] / "build"))


def use_interfaces(package: str) -> None:
    """Make a robot's messages importable: the real package, or the tests' stand-in; skip without either."""
    prefix = _BUILD / "test_interfaces" / "install"
    if importlib.util.find_spec(package) is None:
        for folder in prefix.glob("lib/python*/site-packages"):
            sys.path.insert(0, str(folder))
            os.environ.update(stand_in_environment())
    # This process looked for its libraries' folders when it started; what is loaded already is found anyway.
    for library in sorted(prefix.glob(f"lib/lib{package}__rosidl_typesupport_*_c.so")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"NOT tested: {package} is not installed; run scripts/build_test_interfaces.sh")


def stand_in_environment() -> dict[str, str]:
    """Return the variables under which another process finds the stand-ins."""
    prefix = _BUILD / "test_interfaces" / "install"
    added = {
        "AMENT_PREFIX_PATH": [prefix],
        "LD_LIBRARY_PATH": [prefix / "lib"],
        "PYTHONPATH": list(prefix.glob("lib/python*/site-packages")),
    }
    variables = {}
    for name, folders in added.items():
        known = os.environ.get(name, "").split(":")
        variables[name] = ":".join([str(f) for f in folders if str(f) not in known] + known).strip(":")
    return variables


def embodiment(**parameters: object) -> robot.Embodiment:
    """Make a robot; parameters without a section are those of ``output``."""
    named = {name if "." in name else f"output.{name}": value for name, value in parameters.items()}
    return robot.Embodiment.from_parameters(
        {
            "robot": "test",
            "cameras.names": ["third_person"],
            "cameras.third_person.topic": "image",
            "frames.base": "base_link",
            "frames.end_effector": "ee_link",
            "output.target_pose_topic": "goto",
            "output.gripper_topic": "fingers",
            **named,
        }
    )


def command(tick: int = 0, **values: object) -> Command:
    """Make a command of a moving arm."""
    made = Command(
        stamp_ns=START_NS + tick * TICK_NS,
        mode=Mode.EXECUTING,
        reason=Reason(Cause.NONE),
        send=True,
        target=TARGET,
        linear=np.array([0.1, 0.0, -0.05]),
        angular=np.array([0.0, 0.5, 0.0]),
        duration_s=TICK_S,
        gripper=None,
        goal_id=bytes(16),
        chunk_id=1,
        step=0,
        measured=TARGET,
        measured_age_s=0.01,
        position_error=0.0,
        rotation_error=0.0,
        counters=Counters(),
    )
    return dataclasses.replace(made, **values)


def problem_of(adapter: Adapter, made: Command) -> str:
    """Send a command and return what the adapter says is wrong; empty where nothing is."""
    try:
        adapter.send(made)
    except AdapterError as error:
        return str(error)
    return ""


def wait_until_sent(graph: Graph, adapter: Adapter, made: Command, timeout_s: float = 20.0) -> None:
    """Send a command until the adapter takes it."""
    deadline = time.monotonic() + timeout_s
    while problem := problem_of(adapter, made):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {problem}"
        time.sleep(0.02)
