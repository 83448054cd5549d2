"""Joint commands on the wire: checked kinematics first, then the joints that reach the target."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from adapter_bench import STANDS, TICK_S, command, embodiment, problem_of, use_interfaces, wait_until_sent
from fake_robots import CHAIN, HOME, FakeInterbotix
from ros_graph import Graph

from dream_vla_ros.nodes.adapters import Adapter, make_adapters
from dream_vla_ros.sim.urdf import robot_description

pytestmark = pytest.mark.ros

# The order the driver counts its group in; another than the chain's, as a robot could have it.
ORDER = ("wrist_rotate", "waist", "shoulder", "elbow", "forearm_roll", "wrist_angle")


@pytest.fixture
def arm(graph: Graph):
    use_interfaces("interbotix_xs_msgs")
    made = FakeInterbotix(graph, order=ORDER)
    yield made
    made.close()


def make(graph: Graph, **parameters: object) -> Adapter:
    adapters = make_adapters(
        graph.node,
        embodiment(
            adapter="joint_group", independent_pose="pose_topic", joint_names=list(ORDER), **parameters
        ),
    )
    return adapters[1]


def test_the_arm_reaches_the_target_along_the_target(graph: Graph, arm: FakeInterbotix):
    arm.describe()
    adapter = make(graph)
    start = arm.pose
    wait_until_sent(graph, adapter, command(target=start))
    graph.wait(lambda: len(arm.commands) >= 1)
    # It was seeded from the measured joints: nothing jumps.
    assert dict(zip(ORDER, arm.commands.messages[0].cmd, strict=True)) == pytest.approx(HOME, abs=1e-4)
    assert arm.commands.messages[0].name == "arm"
    way, turn = np.array([0.03, -0.06, 0.04]), np.array([0.0, 0.0, 0.3])
    steps = 60
    for step in range(1, steps + 1):
        target = start.moved(way * step / steps, turn * step / steps)
        adapter.send(command(step, target=target))
        time.sleep(TICK_S / 2)
    for tick in range(steps, steps + 10):
        adapter.send(command(tick, target=target))
    last = dict(zip(ORDER, arm.commands.wait(start=steps, what="the last command").cmd, strict=True))
    graph.wait(lambda: np.linalg.norm(arm.pose.motion_to(target)[0]) < 1e-3)
    assert last != pytest.approx(HOME, abs=0.05)
    path = [CHAIN.pose(dict(zip(ORDER, m.cmd, strict=True))).position for m in arm.commands.messages]
    line = way / np.linalg.norm(way)
    off = [np.linalg.norm(np.cross(p - start.position, line)) for p in path]
    assert max(off) < 1e-3


def test_nothing_is_sent_while_the_kinematics_disagree(graph: Graph, arm: FakeInterbotix):
    adapter = make(graph)
    assert "no robot description yet" in problem_of(adapter, command(target=arm.pose))
    arm.offset = np.array([0.0, 0.0, 0.0015])
    arm.describe()
    graph.wait(lambda: "1.5 mm and" in problem_of(adapter, command(target=arm.pose)))
    assert "Check frames.base and frames.end_effector" in problem_of(adapter, command(target=arm.pose))
    assert len(arm.commands) == 0
    arm.offset = np.array([0.0, 0.0, 0.0008])
    wait_until_sent(graph, adapter, command(target=arm.pose))
    graph.wait(lambda: len(arm.commands) >= 1)


def test_a_pose_in_another_frame_does_not_count(graph: Graph, arm: FakeInterbotix):
    arm.frame = "world"
    arm.describe()
    adapter = make(graph)
    graph.wait(lambda: "nothing to check the kinematics against" in problem_of(adapter, command()))
    assert len(arm.commands) == 0


def test_a_new_description_is_checked_anew(graph: Graph, arm: FakeInterbotix):
    arm.describe()
    adapter = make(graph)
    wait_until_sent(graph, adapter, command(target=arm.pose))
    arm.describe(robot_description().replace("0.25", "0.26"))
    graph.wait(lambda: "the robot description puts 'ee_link'" in problem_of(adapter, command(**STANDS)))


@pytest.mark.parametrize(
    ("urdf", "words"),
    [
        ("<robot", "robot_description: the robot description is not well-formed"),
        (
            robot_description().replace('"wrist_rotate"', '"wrist_roll"'),
            "output.joint_names has wrist_rotate",
        ),
    ],
)
def test_a_description_that_does_not_fit_is_refused(graph: Graph, arm: FakeInterbotix, urdf: str, words: str):
    adapter = make(graph)
    arm.describe(urdf)
    graph.wait(lambda: words in problem_of(adapter, command(target=arm.pose)))
    assert len(arm.commands) == 0


def test_a_target_out_of_reach_stops_the_arm(graph: Graph, arm: FakeInterbotix):
    arm.describe()
    adapter = make(graph)
    wait_until_sent(graph, adapter, command(target=arm.pose))
    far = arm.pose.moved([0.5, 0.0, 0.5], [0.0, 0.0, 0.0])
    graph.wait(
        lambda: (
            "the target is out of reach: the joints miss it" in problem_of(adapter, command(1, target=far))
        )
    )


def test_an_arm_that_does_not_follow_is_noticed(graph: Graph, arm: FakeInterbotix):
    arm.describe()
    adapter = make(graph)
    start = arm.pose
    wait_until_sent(graph, adapter, command(target=start))
    arm.follows = False
    turned = start.moved([-0.1, 0.18, 0.0], [0.0, 0.0, 0.6])

    def astray() -> bool:
        return "the arm does not follow" in problem_of(adapter, command(1, target=turned))

    graph.wait(astray)


@pytest.mark.parametrize("position", [None, math.nan])
def test_nothing_begins_without_joints_that_were_measured_lately(
    graph: Graph, arm: FakeInterbotix, position: float | None
):
    arm.describe()
    adapter = make(graph)
    wait_until_sent(graph, adapter, command(target=arm.pose))
    arm.position = position
    arm.measuring = position is not None
    standing = command(1, target=arm.pose, linear=np.zeros(3), angular=np.zeros(3))
    graph.wait(lambda: "no usable joint states on joint_states lately" in problem_of(adapter, standing))
    arm.position, arm.measuring = None, True
    wait_until_sent(graph, adapter, command(2, target=arm.pose))
