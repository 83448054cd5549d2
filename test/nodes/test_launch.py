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
import yaml

pytest.importorskip("launch_ros", reason="launch files were NOT tested: this ROS has no launch_ros (wheels)")

from adapter_bench import use_interfaces
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from fake_robots import FakeFranka, FakeInterbotix, franka_config, widowx_config
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.utilities import perform_substitutions
from launch_ros.actions import Node

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.nodes.cli import main as cli
from dream_vla_ros.nodes.client.robot import DreamVLA, NotReadyError, Outcome
from dream_vla_ros.nodes.launching import BRINGUP, large_images

LAUNCH = Path(__file__).parents[2] / "launch"
FILES = ("bringup", "franka", "tabletop", "widowx")
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
    started = []

    def start(name, *arguments):
        path = str(LAUNCH / f"{name}.launch.py")
        # Read only now: the stand-ins for robots' messages may have been added.
        environment = {**os.environ, "DREAM_VLA_TEST_MARK": mark, "ROS_HOME": str(tmp_path / "ros")}
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
    assert declared.keys() >= {argument.name for argument in BRINGUP}
    assert all(argument.description for argument in declared.values())


def nodes_of(**given):
    """Return what the bringup starts, in order: executables to parameters."""
    context = LaunchContext()
    context.launch_configurations["robot"] = "tabletop"
    context.launch_configurations.update(given)
    entities = description("bringup").entities
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
    found = []
    for action in entities[-1].visit(context):
        # What comes after the controller waits in an event handler for its start.
        handler = getattr(action, "event_handler", None)
        found += [action] if handler is None else handler.describe()[1]
    nodes = sorted(
        (action for action in found if isinstance(action, Node)),
        key=lambda node: node.node_executable != "controller",
    )
    return {node.node_executable: parameters_of(context, node) for node in nodes}


def parameters_of(context, node):
    """Return the parameters a node is given beside files."""
    given = next(one for one in node._Node__parameters if isinstance(one, dict))
    return {perform_substitutions(context, list(name)): value for name, value in given.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["controller", "policy"]),
        ({"policy": "false"}, ["controller"]),
        ({"expert": "true"}, ["controller", "expert"]),
        ({"planner": "true", "recording": "true"}, ["controller", "policy", "planner", "recorder"]),
        ({"visualizer": "true"}, ["controller", "policy", "visualizer"]),
        ({"rviz": "true"}, ["controller", "policy", "visualizer", "rviz2"]),
    ],
)
def test_what_is_asked_for_is_started_the_controller_first(given, expected):
    assert list(nodes_of(**given)) == expected


def test_arguments_reach_the_nodes_they_are_for():
    nodes = nodes_of(
        adapter="delta",
        gripper="none",
        blending="temporal_ensemble",
        checkpoint="/models/x",
        objective="discrete",
        device="cuda:1",
        use_sim_time="true",
        autostart="false",
        planner="true",
        planner_answers="oracle",
        recording="true",
        recordings="/data",
    )

    def value(node, name):
        found = nodes[node].get(name)
        # Texts are kept as YAML.
        text = found is not None and not isinstance(found, bool)
        return yaml.safe_load("".join(part.text for part in found)) if text else found

    assert value("controller", "output.adapter") == "delta"
    assert value("controller", "output.gripper") == "none"
    assert value("controller", "blending") == value("policy", "blending") == "temporal_ensemble"
    assert value("policy", "checkpoint") == "/models/x"
    assert value("policy", "objective") == "discrete"
    assert value("policy", "device") == "cuda:1"
    assert value("planner", "answers") == "oracle"
    assert value("recorder", "folder") == "/data"
    assert value("recorder", "robot_file").endswith("tabletop.yaml")
    assert all(value(node, "use_sim_time") is True for node in nodes)
    assert value("policy", "autostart") is value("planner", "autostart") is False
    # What is not given stays as the parameter file says.
    assert "blending" not in nodes_of()["controller"]
    assert "checkpoint" not in nodes_of()["policy"]


def test_the_visualizer_has_shared_memory_for_large_images_unless_the_user_chose_otherwise(monkeypatch):
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    profiles = large_images()
    assert set(profiles) == {"FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"}
    assert all(Path(profile).is_file() for profile in profiles.values())
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml")
    assert large_images() == {}


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
@pytest.mark.timeout(240)
def test_widowx_with_its_driver(launch, graph, tmp_path, capsys):
    use_interfaces("interbotix_xs_msgs")
    arm = FakeInterbotix(graph, "/wx250s/")
    try:
        arm.describe()
        running = launch("widowx", f"robot:={widowx_config(tmp_path)}", "policy:=false", "recording:=true")
        wait_until(lambda: running.pids_of("recorder"), "recorder")
        assert not running.pids_of("policy")
        arguments = ["check-directions", str(widowx_config(tmp_path)), "--yes", "--timeout", "90"]
        assert cli.main(arguments) == 0, capsys.readouterr()
        # The gripper stayed as it was measured: open.
        assert {msg.cmd for msg in arm.grippers.messages} == {250.0}
    finally:
        arm.close()


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_franka_with_its_driver(launch, graph, tmp_path, capsys):
    use_interfaces("franka_msgs")
    arm = FakeFranka(graph)
    try:
        launch("franka", f"robot:={franka_config(tmp_path)}", "policy:=false")
        arguments = ["check-directions", str(franka_config(tmp_path)), "--yes", "--timeout", "90"]
        assert cli.main(arguments) == 0, capsys.readouterr()
        assert [goal.width for goal in arm.gripper_goals] == [0.08]
    finally:
        arm.close()


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["widowx", "franka"])
def test_robots_come_up_without_hardware(launch, name):
    launch(name, "autostart:=false", "adapter:=delta", "gripper:=none")
    with DreamVLA() as robot:
        wait_until(lambda: robot.controller_state is not None, "controller")
        assert robot.controller_state.mode == ControllerState.NO_STATE

        def unconfigured():
            with pytest.raises(NotReadyError):
                robot.wait_until_ready(0.0)
            return robot.policy_state == "unconfigured"

        wait_until(unconfigured, "policy that waits to be configured")
