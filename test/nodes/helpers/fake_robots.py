"""Robots' drivers as the real ones look from outside, for launch files to find in the graph."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from patience import patient
from rclpy.action import ActionServer
from ros_graph import BEST_EFFORT, LATCHED, Graph
from sensor_msgs.msg import JointState
from std_msgs.msg import Header, String

from dream_vla_ros.geometry import Pose
from dream_vla_ros.kinematics import ForwardKinematics
from dream_vla_ros.nodes.conversions import pose_from_msg, pose_stamped, time_to_msg
from dream_vla_ros.sim.arm import ARM_JOINT_NAMES, BASE_LINK, EE_LINK, HOME_ANGLES
from dream_vla_ros.sim.urdf import robot_description

CONFIG = Path(__file__).parents[3] / "config"
CHAIN = ForwardKinematics.from_urdf(robot_description(), BASE_LINK, EE_LINK)
HOME = dict(zip(ARM_JOINT_NAMES, HOME_ANGLES, strict=True))
_PERIOD_S = 0.02


class _Driver:
    """Publishes at a fixed rate until closed."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_PERIOD_S):
            self.step()

    def step(self) -> None:
        raise NotImplementedError


class FakeInterbotix(_Driver):
    """Publishes joints and an independent pose, and goes where ``commands/joint_group`` sends it.

    :param prefix: Put before its topics, ``/wx250s/`` as the driver does or nothing.
    :param order: Joints in the order the driver counts its group in.

    ``measuring`` is whether joint states are published, ``position`` what the first joint is said to be at.
    """

    def __init__(self, graph: Graph, prefix: str = "", order: Sequence[str] = ARM_JOINT_NAMES) -> None:
        from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand

        super().__init__()
        self.graph, self.order = graph, order
        self.joints = dict(HOME)
        self.offset = np.zeros(3)
        self.frame = BASE_LINK
        self.follows = self.measuring = True
        self.position: float | None = None
        self.commands = graph.record(JointGroupCommand, f"{prefix}commands/joint_group")
        self.grippers = graph.record(JointSingleCommand, f"{prefix}commands/joint_single")
        self._states = graph.publisher(JointState, f"{prefix}joint_states", BEST_EFFORT)
        self._poses = graph.publisher(PoseStamped, f"{prefix}ee_pose", BEST_EFFORT)
        self._descriptions = graph.publisher(String, f"{prefix}robot_description", LATCHED)
        self._thread.start()

    @property
    def pose(self) -> Pose:
        return CHAIN.pose(self.joints)

    def describe(self, urdf: str | None = None) -> None:
        self._descriptions.publish(String(data=robot_description() if urdf is None else urdf))

    def step(self) -> None:
        last = self.commands.last
        if last is not None and self.follows:
            self.joints = dict(zip(self.order, last.cmd, strict=True))
        now = self.graph.now_ns()
        fingers = {"left_finger": 0.03, "right_finger": -0.03}
        joints = self.joints | fingers
        if self.position is not None:
            joints[self.order[0]] = self.position
        if self.measuring:
            self._states.publish(
                JointState(
                    header=Header(stamp=time_to_msg(now)),
                    name=list(joints),
                    position=list(joints.values()),
                )
            )
        here = self.pose
        self._poses.publish(pose_stamped(Pose(here.position + self.offset, here.quaternion), now, self.frame))


class FakeFranka(_Driver):
    """An impedance controller that obeys ``/target_pose`` at once, the state broadcaster, and the gripper."""

    def __init__(self, graph: Graph) -> None:
        from franka_msgs.action import Grasp, Move

        super().__init__()
        self.graph = graph
        self.pose = Pose(np.array([0.45, 0.0, 0.30]), np.array([1.0, 0.0, 0.0, 0.0]))
        self.gripper_goals: list[object] = []
        self.targets = graph.record(PoseStamped, "/target_pose")
        self._poses = graph.publisher(
            PoseStamped, "/franka_robot_state_broadcaster/current_pose", BEST_EFFORT
        )
        self._servers = [
            ActionServer(graph.node, kind, f"/franka_gripper/{name}", partial(self._execute, kind.Result))
            for name, kind in (("move", Move), ("grasp", Grasp))
        ]
        self._thread.start()

    def _execute(self, result, handle):
        self.gripper_goals.append(handle.request)
        handle.succeed()
        return result(success=True)

    def step(self) -> None:
        if self.targets.last is not None:
            self.pose = pose_from_msg(self.targets.last.pose)
        self._poses.publish(pose_stamped(self.pose, self.graph.now_ns(), "fr3_link0"))


def widowx_config(folder: Path) -> Path:
    """Write the WidowX' parameter file for the fake: its links, and a pose topic in the place of tf."""
    return _written(
        folder,
        "widowx",
        ("wx250s/base_link", BASE_LINK),
        ("wx250s/ee_gripper_link", EE_LINK),
        ("independent_pose: tf", "independent_pose: pose_topic"),
        ("state:\n", "state:\n      pose_topic: /wx250s/ee_pose\n"),
    )


def franka_config(folder: Path) -> Path:
    """Write the Franka's parameter file for the fake."""
    return _written(folder, "franka")


def _written(folder: Path, robot: str, *replacements: tuple[str, str]) -> Path:
    text = (CONFIG / f"{robot}.yaml").read_text(encoding="utf-8")
    for real, fake in replacements:
        assert real in text, real
        text = text.replace(real, fake)
    path = folder / f"{robot}.yaml"
    path.write_text(patient(text), encoding="utf-8")
    return path
