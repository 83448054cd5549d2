"""Joint positions for an Interbotix arm, by inverse kinematics on the driver's own robot description."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from dream_vla_ros.control import Command
from dream_vla_ros.embodiment import Embodiment, IndependentPose
from dream_vla_ros.geometry import Pose
from dream_vla_ros.inverse_kinematics import InverseKinematics
from dream_vla_ros.kinematics import ForwardKinematics, KinematicsError
from dream_vla_ros.nodes.adapters.adapter import AdapterError, GatedAdapter, require
from dream_vla_ros.nodes.conversions import pose_from_msg
from dream_vla_ros.nodes.matching import LATCHED, SENSOR, MatchingSubscription
from dream_vla_ros.nodes.state_source_tf import TransformSource
from dream_vla_ros.parameters import ParameterError

_DEPTH = 10
_CHECK_PERIOD_S = 0.1
# What two readings of one description may differ by while the arm stands: encoders resolve 0.1 mm at the tip.
_AGREE_M = 0.001
_AGREE_RAD = 0.01
# Measurements further apart than this may be of different poses.
_FRESH_S = 0.5
# The arm is this far from where it was sent: it is held, switched off, or another one.
_ASTRAY_RAD = 0.5
# The pose is out of reach when the joints, led to their best, miss it by this much.
_OUT_OF_REACH_M = 0.02
_OUT_OF_REACH_RAD = 0.2


class JointGroupAdapter(GatedAdapter):
    """Publishes ``output.joint_group_topic`` at every tick.

    Nothing is sent before the kinematics of the driver's description agree with an independent pose.

    :param embodiment: Names topics, frames and joints.
    :raises AdapterError: If interbotix_xs_msgs, or tf2_ros where tf is asked for, is not installed.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._kind = require("interbotix_xs_msgs.msg", "output.adapter joint_group").JointGroupCommand
        self._node = node
        self._frames, self._output = embodiment.frames, embodiment.output
        self._state = embodiment.state
        self._period_s = 1.0 / embodiment.timing.control_rate
        self._lock = threading.Lock()
        self._solver: InverseKinematics | None = None
        self._joints: dict[str, float] = {}
        self._joints_s = -math.inf
        self._pose: Pose | None = None
        self._pose_s = -math.inf
        self._fault = ""
        self._agrees = "no robot description yet"
        self._transforms: TransformSource | None = None
        self._publisher = node.create_publisher(self._kind, self._output.joint_group_topic, _DEPTH)
        self._descriptions = MatchingSubscription(
            node, String, self._state.robot_description_topic, self._on_description, LATCHED
        )
        self._measured = MatchingSubscription(
            node, JointState, self._state.joint_states_topic, self._on_joints, SENSOR
        )
        if self._output.independent_pose is IndependentPose.POSE_TOPIC:
            self._poses = MatchingSubscription(
                node, PoseStamped, self._state.pose_topic, self._on_pose, SENSOR
            )
            self._other = f"the pose on {self._state.pose_topic}"
        else:
            try:
                self._transforms = TransformSource(node, embodiment.frames)
            except ParameterError as error:
                raise AdapterError(
                    "output.adapter joint_group checks its kinematics against tf: install "
                    "ros-$ROS_DISTRO-tf2-ros-py, or set output.independent_pose to pose_topic"
                ) from error
            self._other = "tf"
        node.create_timer(_CHECK_PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def problem(self) -> str:
        """Return why the arm must not be commanded."""
        return self._agrees or self._fault or self._stale(time.monotonic())

    def publish(self, command: Command, target: Pose) -> None:
        """Move the joints towards the target of the tick and publish where they are to be.

        :raises AdapterError: If the target is out of reach or the arm does not follow.
        """
        solver = self._solver
        if solver is None:  # a new description came a moment ago
            raise AdapterError(self._agrees)
        with self._lock:
            measured = dict(self._joints)
        try:
            if not self._running:
                solver.begin(measured)
            positions = solver.step(target, self._period_s)
            reached = solver.pose()
        except KinematicsError as error:
            raise AdapterError(str(error)) from error
        names = self._output.joint_names or solver.joint_names
        self._publisher.publish(
            self._kind(name=self._output.joint_group, cmd=[float(positions[name]) for name in names])
        )
        self._judge(positions, measured, reached, target)

    def _judge(
        self, positions: Mapping[str, float], measured: Mapping[str, float], reached: Pose, target: Pose
    ) -> None:
        astray = max(positions, key=lambda name: abs(positions[name] - measured[name]))
        if abs(positions[astray] - measured[astray]) > _ASTRAY_RAD:
            raise AdapterError(
                f"joint '{astray}' is at {measured[astray]:.2f}, but was sent to {positions[astray]:.2f}: "
                "the arm does not follow"
            )
        translation, rotation = reached.motion_to(target)
        miss_m, miss_rad = float(np.linalg.norm(translation)), float(np.linalg.norm(rotation))
        if miss_m > _OUT_OF_REACH_M or miss_rad > _OUT_OF_REACH_RAD:
            raise AdapterError(
                f"the target is out of reach: the joints miss it by {1e3 * miss_m:.0f} mm and "
                f"{miss_rad:.2f} rad"
            )

    def _check(self) -> None:
        if self._solver is None or not self._agrees:
            return
        now_s = time.monotonic()
        if self._transforms is not None:
            self._look_up(self._transforms, now_s)
        with self._lock:
            joints, pose = dict(self._joints), self._pose
            age_s = now_s - self._pose_s
        if stale := self._stale(now_s):
            self._agrees = stale
        elif pose is None or not age_s <= _FRESH_S:
            why = self._transforms.problem if self._transforms is not None else ""
            self._agrees = f"nothing to check the kinematics against from {self._other} lately {why}".rstrip()
        else:
            self._compare(self._solver.chain, joints, pose)

    def _stale(self, now_s: float) -> str:
        """Return that nobody knows where the joints are, for the next motion begins there."""
        with self._lock:
            fresh = now_s - self._joints_s <= _FRESH_S
        return "" if fresh else f"no usable joint states on {self._state.joint_states_topic} lately"

    def _compare(self, chain: ForwardKinematics, joints: Mapping[str, float], pose: Pose) -> None:
        try:
            translation, rotation = chain.pose(joints).motion_to(pose)
        except KinematicsError as error:
            self._agrees = str(error)
            return
        miss_m, miss_rad = float(np.linalg.norm(translation)), float(np.linalg.norm(rotation))
        if miss_m <= _AGREE_M and miss_rad <= _AGREE_RAD:
            self._agrees = ""
            self._node.get_logger().info(
                f"the kinematics of the robot description agree with {self._other}: {1e3 * miss_m:.2f} mm"
            )
            return
        self._agrees = (
            f"the robot description puts '{self._frames.end_effector}' {1e3 * miss_m:.1f} mm and "
            f"{miss_rad:.3f} rad from where {self._other} has it; at most {1e3 * _AGREE_M:g} mm and "
            f"{_AGREE_RAD:g} rad will do. Check frames.base and frames.end_effector, and let the arm stand"
        )

    def _look_up(self, transforms: TransformSource, now_s: float) -> None:
        try:
            found = transforms.latest()
        except ValueError as error:
            self._agrees = f"tf: {error}"
            return
        if found is not None:
            with self._lock:
                self._pose, self._pose_s = found[0], now_s

    def _on_description(self, msg: String) -> None:
        self._agrees, self._solver = "a new robot description is being read", None
        topic = self._state.robot_description_topic
        try:
            chain = ForwardKinematics.from_urdf(msg.data, self._frames.base, self._frames.end_effector)
            named = self._output.joint_names
            if named and set(named) != set(chain.joint_names):
                raise KinematicsError(
                    f"output.joint_names has {', '.join(named)}, but the chain to "
                    f"'{self._frames.end_effector}' has {', '.join(chain.joint_names)}"
                )
            solver = InverseKinematics(chain, self._output.joint_speed)
        except KinematicsError as error:
            self._agrees = f"{topic}: {error}"
            self._node.get_logger().error(self._agrees)
            return
        self._agrees = "the kinematics of the robot description are being checked"
        self._solver = solver

    def _on_joints(self, msg: JointState) -> None:
        if len(msg.name) != len(msg.position) or not all(map(math.isfinite, msg.position)):
            return
        with self._lock:
            self._joints.update(zip(msg.name, (float(p) for p in msg.position), strict=True))
            self._joints_s = time.monotonic()

    def _on_pose(self, msg: PoseStamped) -> None:
        if msg.header.frame_id != self._frames.base:
            self._fault = (
                f"the pose on {self._state.pose_topic} is in frame '{msg.header.frame_id}', "
                f"not in '{self._frames.base}'"
            )
            return
        try:
            pose = pose_from_msg(msg.pose)
        except ValueError as error:
            self._fault = f"{self._state.pose_topic}: {error}"
            return
        with self._lock:
            self._pose, self._pose_s, self._fault = pose, time.monotonic(), ""
