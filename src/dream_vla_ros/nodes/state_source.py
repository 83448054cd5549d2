"""Measured state of the arm from whatever the robot publishes, for policy and controller alike."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from dream_vla_ros import embodiment as robot
from dream_vla_ros.geometry import Pose
from dream_vla_ros.kinematics import ForwardKinematics, KinematicsError
from dream_vla_ros.nodes.conversions import pose_from_msg, time_from_msg
from dream_vla_ros.nodes.matching import LATCHED, SENSOR, MatchingSubscription
from dream_vla_ros.nodes.state_source_tf import TransformSource
from dream_vla_ros.robot_state import RobotState, gripper_opening
from dream_vla_ros.state_history import StateHistory, StateUnknownError

_LOG_PERIOD_S = 2.0


class StateSource:
    """Newest end-effector pose, joint positions and gripper opening of one robot.

    Messages that are malformed, not finite, unstamped or in another frame are refused and logged with their
    topic; the last good state stays.

    :param node: Node that subscribes.
    :param embodiment: Says which source, topics, frames and finger joints.
    :param callback_group: Group of the subscriptions; the node's default group if None.
    :raises ParameterError: If the source is tf and tf2_ros is not installed.
    """

    def __init__(
        self, node: Node, embodiment: robot.Embodiment, callback_group: CallbackGroup | None = None
    ) -> None:
        self._node = node
        self._embodiment = embodiment
        self._group = callback_group
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}
        self._subscriptions: list[MatchingSubscription] = []
        self._pose: tuple[Pose, int, int] | None = None
        self._joints: dict[str, float] = {}
        self._joint_stamps: dict[str, int] = {}
        self._joints_received_ns = 0
        self._kinematics: ForwardKinematics | None = None
        self._transforms: TransformSource | None = None
        self._cached: RobotState | None = None
        self._fault = ""
        self._history = StateHistory(embodiment)

        state = embodiment.state
        self._source = state.source
        if self._source is robot.StateSource.POSE_TOPIC:
            self._pose_topic = self._subscribe(PoseStamped, state.pose_topic, self._on_pose, SENSOR)
            self._missing = f"no pose received on {self._pose_topic}"
        elif self._source is robot.StateSource.TF:
            self._transforms = TransformSource(node, embodiment.frames)
            self._missing = (
                f"no transform from {embodiment.frames.base} to {embodiment.frames.end_effector} received"
            )
        else:
            self._description_topic = self._subscribe(
                String, state.robot_description_topic, self._on_description, LATCHED
            )
            self._missing = f"no robot description received on {self._description_topic}"
        self._joints_topic = ""
        if self._source is robot.StateSource.ROBOT_DESCRIPTION or state.joint_states_topic:
            self._joints_topic = self._subscribe(
                JointState, state.joint_states_topic, self._on_joints, SENSOR
            )

    @property
    def problem(self) -> str:
        """Why :meth:`latest` has nothing newer: what is missing or was refused last; empty if all is well."""
        with self._lock:
            return self._fault or self._missing

    @property
    def refused(self) -> str:
        """Why the newest message was refused; empty once a good one came."""
        with self._lock:
            return self._fault

    def latest(self) -> RobotState | None:
        """Return the newest state, however old; None before the first.

        Look at its age with :meth:`RobotState.age_s`.
        """
        with self._lock:
            if self._transforms is not None:
                self._look_up()
            if self._cached is None:
                self._cached = self._assemble()
            return self._cached

    def known_until_ns(self) -> int | None:
        """Return the stamp up to which :meth:`at` has the state; None where there is no saying."""
        with self._lock:
            return None if self._transforms is not None else self._history.newest_ns() or None

    def at(self, stamp_ns: int) -> RobotState:
        """Return the state at the capture of an image, by the rule of datasets.

        :param stamp_ns: ROS time.
        :raises StateUnknownError: If it is not known then, or not yet.
        """
        with self._lock:
            pose = None
            if self._transforms is not None:
                pose = self._transforms.at(stamp_ns)
                if pose is None:
                    raise StateUnknownError(self._transforms.problem)
            return self._history.at(stamp_ns, pose)

    def _assemble(self) -> RobotState | None:
        if self._source is robot.StateSource.ROBOT_DESCRIPTION:
            self._solve()
        if self._pose is None:
            return None
        pose, stamp_ns, received_ns = self._pose
        return RobotState(
            stamp_ns=stamp_ns,
            received_ns=received_ns,
            pose=pose,
            joints=dict(self._joints),
            joints_stamp_ns=max(self._joint_stamps.values(), default=None),
            gripper=gripper_opening(self._joints, self._embodiment.state),
        )

    def _solve(self) -> None:
        if self._kinematics is None:
            return
        missing = [name for name in self._kinematics.joint_names if name not in self._joints]
        if missing:
            self._missing = f"no position of joint {', '.join(missing)} received on {self._joints_topic}"
            return
        try:
            pose = self._kinematics.pose(self._joints)
        except (KinematicsError, ValueError) as error:
            self._refuse(self._joints_topic, str(error))
            return
        self._missing = ""
        # A chain without moving joints is as new as the newest joint states.
        names = self._kinematics.joint_names or tuple(self._joint_stamps)
        stamps = [self._joint_stamps[name] for name in names]
        if stamps:
            self._pose = (pose, min(stamps), self._joints_received_ns)

    def _look_up(self) -> None:
        assert self._transforms is not None
        try:
            found = self._transforms.latest()
        except ValueError as error:
            self._refuse("/tf", str(error))
            return
        if found is None:
            self._missing = self._transforms.problem
        elif self._pose is None or found[1] != self._pose[1]:
            self._pose = (found[0], found[1], time.monotonic_ns())
            self._missing = self._fault = ""
            self._cached = None

    def _on_pose(self, msg: PoseStamped) -> None:
        received_ns = time.monotonic_ns()
        base = self._embodiment.frames.base
        stamp_ns = time_from_msg(msg.header.stamp)
        with self._lock:
            if msg.header.frame_id != base:
                self._refuse(self._pose_topic, f"pose is in frame '{msg.header.frame_id}', not in '{base}'")
                return
            if stamp_ns == 0:
                self._refuse(self._pose_topic, "pose carries no stamp")
                return
            try:
                pose = pose_from_msg(msg.pose)
            except ValueError as error:
                self._refuse(self._pose_topic, str(error))
                return
            self._pose = (pose, stamp_ns, received_ns)
            self._history.add_pose(stamp_ns, pose)
            self._cached = None
            self._missing = self._fault = ""

    def _on_joints(self, msg: JointState) -> None:
        received_ns = time.monotonic_ns()
        stamp_ns = time_from_msg(msg.header.stamp)
        with self._lock:
            problem = ""
            if stamp_ns == 0:
                problem = "joint states carry no stamp"
            elif len(msg.name) != len(msg.position):
                problem = f"{len(msg.name)} joint names but {len(msg.position)} positions"
            else:
                for name, position in zip(msg.name, msg.position, strict=True):
                    if not math.isfinite(position):
                        problem = f"position of joint '{name}' is {position}"
                        break
            if problem:
                self._refuse(self._joints_topic, problem)
                return
            for name, position in zip(msg.name, msg.position, strict=True):
                self._joints[name] = float(position)
                self._joint_stamps[name] = stamp_ns
            self._history.add_joints(stamp_ns, dict(zip(msg.name, msg.position, strict=True)))
            self._joints_received_ns = received_ns
            self._cached = None
            if self._source is robot.StateSource.ROBOT_DESCRIPTION:
                self._fault = ""

    def _on_description(self, msg: String) -> None:
        frames = self._embodiment.frames
        with self._lock:
            try:
                self._kinematics = ForwardKinematics.from_urdf(msg.data, frames.base, frames.end_effector)
            except KinematicsError as error:
                self._missing = f"{self._description_topic}: {error}"
                self._node.get_logger().error(
                    f"{self._missing}; check frames.base, frames.end_effector and the description"
                )
                return
            self._history.chain = self._kinematics
            self._missing = f"no joint states received on {self._joints_topic}"
            self._cached = None

    def _subscribe(self, kind: type, topic: str, callback: Any, qos: QoSProfile) -> str:
        made = MatchingSubscription(self._node, kind, topic, callback, qos, self._group)
        self._subscriptions.append(made)
        return made.topic_name

    def _refuse(self, topic: str, problem: str) -> None:
        self._fault = f"{topic}: {problem}"
        now = time.monotonic()
        if now - self._logged.get(topic, -math.inf) >= _LOG_PERIOD_S:
            self._logged[topic] = now
            self._node.get_logger().warning(f"refused: {self._fault}")
