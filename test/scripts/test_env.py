"""scripts/lib.sh and scripts/env.sh find the right ROS and leave the user's own settings alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEARCH_PATHS = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
)


def bare_environment(**variables: str) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **variables}


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-uc", script]
    return subprocess.run(
        command, env=bare_environment(**variables), capture_output=True, text=True, check=False
    )


def locate(clone: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(
        f'. "{ROOT}/scripts/lib.sh"; dream_vla_locate "{clone}" || exit 1; '
        'echo "$DREAM_VLA_FLAVOUR ${DREAM_VLA_VENV##*/} ${DREAM_VLA_BUILD##*/} ${DREAM_VLA_INSTALL##*/}"',
        **variables,
    )


@pytest.fixture
def distribution(tmp_path):
    """Make the folder that marks an installed ROS distribution."""
    prefix = tmp_path / "opt" / "ros" / "jazzy"
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rclpy").touch()
    return prefix


@pytest.mark.parametrize(
    ("distro", "expected"),
    [
        ({}, "wheels-jazzy .venv build install"),
        ({"ROS_DISTRO": "jazzy"}, "wheels-jazzy .venv build install"),
        ({"ROS_DISTRO": "kilted"}, "wheels-kilted .venv-kilted build-kilted install-kilted"),
    ],
)
def test_wheels_where_nothing_is_sourced(tmp_path, distro, expected):
    assert locate(tmp_path, **distro).stdout.strip() == expected


def test_a_distribution_without_wheels_must_be_sourced(tmp_path):
    result = locate(tmp_path, ROS_DISTRO="rolling")
    assert result.returncode == 1
    assert "ROS_DISTRO=rolling" in result.stderr


def test_sourced_distribution_is_used(tmp_path, distribution):
    result = locate(tmp_path / "clone", ROS_DISTRO="jazzy", AMENT_PREFIX_PATH=f"/overlay:{distribution}")
    assert result.stdout.strip() == "sourced-jazzy .venv-ros-jazzy build install"


def test_sourced_distribution_without_its_name_is_an_error(tmp_path, distribution):
    result = locate(tmp_path / "clone", AMENT_PREFIX_PATH=str(distribution))
    assert result.returncode == 1
    assert "ROS_DISTRO is not set" in result.stderr


def test_an_environment_with_wheels_is_no_distribution(tmp_path, distribution):
    (distribution / "pyvenv.cfg").touch()
    result = locate(tmp_path / "clone", AMENT_PREFIX_PATH=str(distribution))
    assert result.stdout.strip() == "wheels-jazzy .venv build install"


def test_another_clone_that_was_active_is_forgotten(tmp_path):
    other = tmp_path / "other"
    result = run(
        f'. "{ROOT}/scripts/lib.sh"; dream_vla_locate "{tmp_path}/clone"; '
        'echo "$PATH|${AMENT_PREFIX_PATH:-}|${PYTHONPATH:-}"',
        DREAM_VLA_ACTIVE_ROOT=str(other),
        PATH=f"{other}/.venv/bin:/usr/bin:/bin",
        AMENT_PREFIX_PATH=f"{other}/install/dream_vla_ros:{other}/.venv:/kept",
        PYTHONPATH=f"{other}/src:/kept/python",
    )
    assert result.stdout.strip() == "/usr/bin:/bin|/kept|/kept/python"


def test_missing_environment_says_what_to_run(tmp_path):
    (tmp_path / "scripts").mkdir()
    for name in ("env.sh", "lib.sh"):
        (tmp_path / "scripts" / name).write_text((ROOT / "scripts" / name).read_text())
    result = run(f'. "{tmp_path}/scripts/env.sh"')
    assert result.returncode == 1
    assert "make setup" in result.stderr


def environment_after(script: str, **variables: str) -> dict[str, str]:
    result = run(f"{script} && env -0", **variables)
    assert result.returncode == 0, result.stderr
    pairs = (entry.split("=", 1) for entry in result.stdout.split("\0") if "=" in entry)
    return {name: value for name, value in pairs}


@pytest.fixture
def inherited():
    """What a shell hands on that sourced a distribution; nothing on the wheels."""
    if not os.environ.get("DREAM_VLA_FLAVOUR", "").startswith("sourced"):
        return {"ROS_DISTRO": os.environ["ROS_DISTRO"]}
    names = (*SEARCH_PATHS, "ROS_DISTRO", "ROS_VERSION", "ROS_PYTHON_VERSION")
    return {name: os.environ[name] for name in names if name in os.environ}


def test_env_puts_messages_and_sources_in_reach(inherited):
    environment = environment_after(f'. "{ROOT}/scripts/env.sh"', **inherited)
    assert environment["PYTHONPATH"].split(":")[0] == str(ROOT / "src")
    assert any("dream_vla_msgs" in entry for entry in environment["AMENT_PREFIX_PATH"].split(":"))
    assert environment["MUJOCO_GL"] == "egl"


def test_env_keeps_what_the_user_set(inherited):
    mine = {"MUJOCO_GL": "osmesa", "RMW_IMPLEMENTATION": "rmw_x", "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    environment = environment_after(f'. "{ROOT}/scripts/env.sh"', **{**inherited, **mine})
    assert {name: environment[name] for name in mine} == mine


def test_env_twice_is_env_once(inherited):
    once = environment_after(f'. "{ROOT}/scripts/env.sh"', **inherited)
    twice = environment_after(f'. "{ROOT}/scripts/env.sh" && . "{ROOT}/scripts/env.sh"', **inherited)
    for name in ("PATH", *SEARCH_PATHS):
        assert twice.get(name) == once.get(name), name
