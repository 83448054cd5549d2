"""Target poses for a Cartesian controller, such as CRISP's."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from dream_vla_ros.control import Command
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.adapters.adapter import GatedAdapter
from dream_vla_ros.nodes.adapters.sole_publisher import SolePublisher
from dream_vla_ros.nodes.conversions import fill_pose, time_to_msg


class TargetPoseAdapter(GatedAdapter):
    """Publishes ``output.target_pose_topic`` at every tick; refuses to beside another publisher.

    :param embodiment: Names topic and base frame.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._poses = SolePublisher(node, PoseStamped, embodiment.output.target_pose_topic)
        self._msg = PoseStamped()
        self._msg.header.frame_id = embodiment.frames.base

    def problem(self) -> str:
        """Return who else publishes the target."""
        return self._poses.problem

    def publish(self, command: Command, target: Pose) -> None:
        """Publish the target at the end of the tick."""
        self._msg.header.stamp = time_to_msg(command.stamp_ns)
        fill_pose(self._msg.pose, target)
        self._poses.publish(self._msg)
