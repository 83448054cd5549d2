"""check-directions through a real controller, against arms whose directions are right and wrong."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from patience import write_patient
from ros_graph import BEST_EFFORT, LATCHED, Graph

from dream_vla_msgs.msg import ActiveGoal
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.cli import check_directions as cli_check_directions
from dream_vla_ros.nodes.cli.check_directions import EXIT_WRONG
from dream_vla_ros.nodes.conversions import pose_from_msg, pose_stamped
from dream_vla_ros.nodes.resources import robot_config

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

START = Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0]))
PERIOD_S = 0.02
RIGHT = np.eye(3)


class Arm:
    """Goes where ``target_pose`` sends it, through axes of its own."""

    def __init__(self, graph: Graph, axes=RIGHT) -> None:
        self._axes = np.asarray(axes, dtype=float)
        self._targets = graph.record(PoseStamped, "target_pose")
        self._poses = graph.publisher(PoseStamped, "ee_pose", BEST_EFFORT)
        self._graph = graph
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(PERIOD_S):
            pose = START
            if self._targets.last is not None:
                moved, turned = START.motion_to(pose_from_msg(self._targets.last.pose))
                pose = START.moved(self._axes @ moved, self._axes @ turned)
            self._poses.publish(pose_stamped(pose, self._graph.now_ns(), "base_link"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_patient(robot_config("tabletop"), tmp_path)


@pytest.fixture
def arm(graph: Graph, config: Path):
    made: list[Arm] = []

    def start(axes=RIGHT) -> Arm:
        made.append(Arm(graph, axes))
        graph.start("dream_vla_ros.nodes.controller.node", parameter_files=[config])
        return made[-1]

    yield start
    for one in made:
        one.close()


def check(graph: Graph, config: Path, *options: str, answers: str = "") -> int:
    """Run the command; ``answers`` are what the person says, the rest is yes."""
    parser = argparse.ArgumentParser()
    cli_check_directions.add_arguments(parser)
    arguments = parser.parse_args(
        [
            str(config),
            "--namespace",
            graph.namespace,
            "--timeout",
            "60",
            *([] if answers else ["--yes"]),
            *options,
        ]
    )
    arguments.ros_args = []
    said = iter(answers)
    return cli_check_directions.run(arguments, ask=lambda _: next(said, "y"))


def test_right_directions_pass(graph: Graph, arm, config, capsys):
    arm()
    assert check(graph, config, "--rotations") == 0
    out = capsys.readouterr().out
    assert "every motion was right" in out
    assert out.count("as asked") == 6


def test_a_mirrored_axis_is_found(graph: Graph, arm, config, capsys):
    # The leash lets an arm that runs the other way come only so far; 2 cm are within it.
    arm(np.diag([1.0, -1.0, 1.0]))
    assert check(graph, config) == EXIT_WRONG
    out = capsys.readouterr().out
    assert "wrong: +y" in out
    assert "+y: measured" in out
    assert "it moved the other way round" in out
    assert "+x: measured" in out


def test_what_the_person_saw_decides_too(graph: Graph, arm, config, capsys):
    arm()
    # Move +x? yes; seen? no. Move +y? no: left out.
    assert check(graph, config, answers="ynn") == EXIT_WRONG
    out = capsys.readouterr().out
    assert "+x: seen otherwise" in out
    assert "+y: left out" in out
    assert "wrong: +x, +y" in out


def test_a_policy_that_runs_is_in_the_way(graph: Graph, arm, config, capsys):
    arm()
    graph.publisher(ActiveGoal, "active_goal", LATCHED)
    assert check(graph, config) == 1
    assert f"{graph.namespace}/test drives the controller; launch without it: policy:=false" in (
        capsys.readouterr().err
    )


def test_a_robot_that_is_not_there_is_named(graph: Graph, config, capsys):
    parser = argparse.ArgumentParser()
    cli_check_directions.add_arguments(parser)
    arguments = parser.parse_args(["tabletop", "--namespace", graph.namespace, "--timeout", "0.5"])
    arguments.ros_args = []
    assert cli_check_directions.run(arguments) == 1
    assert f"nothing on '{graph.namespace}/controller_state'" in capsys.readouterr().err
