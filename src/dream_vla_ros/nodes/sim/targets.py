"""Targets for the simulated arm as they come in over topics: newest wins, bad ones and silence mean hold."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.conversions import pose_from_msg

_DEPTH = 10
_LOG_PERIOD_S = 2.0


@dataclass(frozen=True)
class Targets:
    """What the arm is asked to do right now.

    :param pose: A pose that is new since the last call; None where there is none.
    :param fault: Why the arm has to stop although targets come; empty where it has not.
    :param silence: Why the arm has to stop because none come; empty where it has not.
    :param gripper: An opening that is new; None where there is none.
    """

    pose: Pose | None = None
    fault: str = ""
    silence: str = ""
    gripper: float | None = None


class SimTargets:
    """Subscribes to pose and gripper targets.

    :param node: Node that subscribes.
    :param embodiment: Names the topics and the base frame.
    :param timeout_s: Silence after which the arm holds.
    """

    def __init__(self, node: Node, embodiment: Embodiment, timeout_s: float) -> None:
        self._logger = node.get_logger()
        self._frame = embodiment.frames.base
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pose: Pose | None = None
        self._gripper: float | None = None
        self._bad = ""
        self._followed_at: float | None = None
        output = embodiment.output
        self._poses = node.create_subscription(PoseStamped, output.target_pose_topic, self._on_pose, _DEPTH)
        self._grippers = node.create_subscription(
            Float64MultiArray, output.gripper_topic, self._on_gripper, _DEPTH
        )

    def take(self) -> Targets:
        """Return what came since the last call."""
        now = time.monotonic()
        with self._lock:
            fault, self._bad, silence = self._bad, "", ""
            if self._followed_at is not None and now - self._followed_at > self._timeout_s:
                silence = f"no target on {self._poses.topic_name} for {now - self._followed_at:.2f} s"
            if fault or silence:
                self._followed_at = None
            targets = Targets(self._pose, fault, silence, self._gripper)
            self._pose = self._gripper = None
            return targets

    def forget(self) -> None:
        """Drop what came so far, as after a reset."""
        with self._lock:
            self._pose = self._gripper = self._followed_at = None
            self._bad = ""

    def _on_pose(self, msg: PoseStamped) -> None:
        try:
            if msg.header.frame_id != self._frame:
                raise ValueError(f"frame_id is '{msg.header.frame_id}', not '{self._frame}'")
            pose = pose_from_msg(msg.pose)
        except ValueError as error:
            with self._lock:
                self._pose = None
                self._bad = f"bad target on {self._poses.topic_name}: {error}"
            return
        with self._lock:
            self._pose = pose
            self._followed_at = time.monotonic()

    def _on_gripper(self, msg: Float64MultiArray) -> None:
        if len(msg.data) != 1 or not math.isfinite(msg.data[0]):
            self._logger.error(
                f"refused on {self._grippers.topic_name}: {list(msg.data)} is not one finite opening, "
                "0 closed to 1 open",
                throttle_duration_sec=_LOG_PERIOD_S,
            )
            return
        with self._lock:
            self._gripper = float(msg.data[0])
