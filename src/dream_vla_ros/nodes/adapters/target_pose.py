"""Target poses for a Cartesian controller, and the gripper's opening for its own."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from dream_vla_ros.control import Command
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.conversions import fill_pose, time_to_msg

_DEPTH = 10
# The gripper is told at every change, and again this often in case a message was lost or the driver is late.
_GRIPPER_REPEAT_NS = 100_000_000


class TargetPoseAdapter:
    """Publishes ``output.target_pose_topic`` at every tick and ``output.gripper_topic`` when it has a value.

    :param embodiment: Names topics and the base frame.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        output = embodiment.output
        self._poses = node.create_publisher(PoseStamped, output.target_pose_topic, _DEPTH)
        self._grippers = node.create_publisher(Float64MultiArray, output.gripper_topic, _DEPTH)
        self._pose = PoseStamped()
        self._pose.header.frame_id = embodiment.frames.base
        self._gripper: float | None = None
        self._gripper_told_ns = 0

    def send(self, command: Command) -> None:
        """Publish the target at the end of the tick."""
        if not command.send or command.target is None:
            return
        self._pose.header.stamp = time_to_msg(command.stamp_ns)
        fill_pose(self._pose.pose, command.target)
        self._poses.publish(self._pose)
        if command.gripper is None:
            return
        elapsed_ns = abs(command.stamp_ns - self._gripper_told_ns)
        if command.gripper != self._gripper or elapsed_ns >= _GRIPPER_REPEAT_NS:
            self._grippers.publish(Float64MultiArray(data=[command.gripper]))
            self._gripper = command.gripper
            self._gripper_told_ns = command.stamp_ns

    def close(self) -> None:
        """Nothing to let go of."""
