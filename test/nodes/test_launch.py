"""Tests of the launch files: what they declare, and what comes up when they are launched for real."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch files were NOT tested: this ROS has no launch_ros (wheels)")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.nodes.client import DreamVLA, NotReadyError, Outcome

LAUNCH = Path(__file__).parents[2] / "launch"
FILES = ("bringup", "franka", "tabletop", "widowx")
COMMON = {"checkpoint", "objective", "device", "seed", "expert", "namespace", "use_sim_time", "autostart"}
READY_S = 90.0
PICK = "pick up the red block"
LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
path, *given = sys.argv[1:]
arguments = [tuple(one.split(":=", 1)) for one in given]
service = LaunchService()
source = PythonLaunchDescriptionSource(path)
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


def description(name):
    spec = importlib.util.spec_from_file_location(f"{name}_launch", LAUNCH / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.fixture
def launch(domain_id, tmp_path):
    """Return a function that launches a file; whatever outlives it fails the test."""
    try:
        get_package_prefix("dream_vla_ros")
    except PackageNotFoundError:
        pytest.skip("launch files were NOT launched: dream_vla_ros is not built; run `make setup`")
    mark = uuid.uuid4().hex
    environment = {**os.environ, "DREAM_VLA_TEST_MARK": mark, "ROS_HOME": str(tmp_path / "ros")}
    started = []

    def start(name, *arguments):
        path = str(LAUNCH / f"{name}.launch.py")
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, path, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        process.pids_of = lambda executable: pids(mark, f"/{executable}")
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    left = pids(mark, "")
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"{len(left)} processes outlived the launch"


def pids(mark, executable):
    """Return running processes that carry the mark and whose command names an executable."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            marked = mark.encode() in (entry / "environ").read_bytes()
        except OSError:
            continue
        if marked and any(word.endswith(executable.encode()) for word in words[:2]):
            found.append(int(entry.name))
    return found


def wait_until(condition, what, timeout_s=READY_S):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {timeout_s} s"
        time.sleep(0.05)


@pytest.mark.parametrize("name", FILES)
def test_arguments_are_declared_and_described(name):
    declared = {argument.name: argument for argument in description(name).get_launch_arguments()}
    assert declared.keys() >= COMMON
    assert all(argument.description for argument in declared.values())


def test_an_unknown_robot_is_refused_with_those_there_are():
    context = LaunchContext()
    context.launch_configurations["robot"] = "roomba"
    entities = description("bringup").entities
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
    with pytest.raises(FileNotFoundError, match="franka, tabletop, widowx"):
        entities[-1].visit(context)


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_tabletop_with_the_expert_in_a_namespace_and_a_policy_that_dies(launch):
    running = launch("tabletop", "expert:=true", "namespace:=/left", f"task:={PICK}", "seed:=3")
    with DreamVLA(namespace="/left", lost_after_s=2.0) as robot:
        robot.wait_until_ready(READY_S)
        assert robot.do(PICK, time_limit_s=30.0).outcome is Outcome.SETTLED
        robot.send(PICK, time_limit_s=30.0)
        wait_until(lambda: robot.feedback is not None, "feedback")
        (policy,) = running.pids_of("expert")
        os.kill(policy, signal.SIGKILL)
        assert robot.wait(timeout_s=20.0)
        assert robot.result.outcome is Outcome.POLICY_LOST
        # The controller was not taken down with the policy: it goes on saying that it holds the arm.
        assert robot.wait_until_still(timeout_s=10.0)
    assert running.poll() is None
    assert len(running.pids_of("controller")) == len(running.pids_of("sim")) == 1


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_policy_that_dies_comes_back_where_asked(launch):
    running = launch("tabletop", "expert:=true", "respawn_policy:=true")
    with DreamVLA(lost_after_s=2.0) as robot:
        robot.wait_until_ready(READY_S)
        (policy,) = running.pids_of("expert")
        os.kill(policy, signal.SIGKILL)
        wait_until(lambda: running.pids_of("expert") not in ([], [policy]), "new policy")
        robot.wait_until_ready(READY_S)
        assert robot.do(PICK, time_limit_s=30.0).outcome is Outcome.SETTLED


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_tabletop_without_a_checkpoint_runs_random_weights(launch):
    launch("tabletop", "device:=cpu")
    with DreamVLA() as robot:
        robot.wait_until_ready(READY_S)
        result = robot.do(PICK, time_limit_s=4.0)
        assert result.outcome is Outcome.TIME_LIMIT, result
        assert result.chunks > 0


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["widowx", "franka"])
def test_robots_come_up_without_hardware(launch, name):
    launch(name, "autostart:=false")
    with DreamVLA() as robot:
        wait_until(lambda: robot.controller_state is not None, "controller")
        assert robot.controller_state.mode == ControllerState.NO_STATE

        def unconfigured():
            with pytest.raises(NotReadyError):
                robot.wait_until_ready(0.0)
            return robot.policy_state == "unconfigured"

        wait_until(unconfigured, "policy that waits to be configured")
