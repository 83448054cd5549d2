"""End-effector deltas, one message per tick: the robot's driver subscribes to them, or a recorder does."""

from __future__ import annotations

import math

from rclpy.node import Node

from dream_vla_msgs.msg import EndEffectorDelta
from dream_vla_ros.control import Command, Mode
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.conversions import duration_to_msg, fill_vector, time_to_msg

_DEPTH = 10


class DeltaAdapter:
    """Publishes ``end_effector_delta`` at every tick with a usable state, zero motion included.

    :param embodiment: Names the frames.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._publisher = node.create_publisher(EndEffectorDelta, "end_effector_delta", _DEPTH)
        self._msg = EndEffectorDelta(ee_frame=embodiment.frames.end_effector)
        self._msg.header.frame_id = embodiment.frames.base
        self._msg.duration = duration_to_msg(1.0 / embodiment.timing.control_rate)

    def send(self, command: Command) -> None:
        """Publish the motion of one tick."""
        if command.mode is Mode.NO_STATE and not command.send:
            return
        msg = self._msg
        msg.header.stamp = time_to_msg(command.stamp_ns)
        fill_vector(msg.translation, command.translation)
        fill_vector(msg.rotation, command.rotation)
        msg.gripper = math.nan if command.gripper is None else command.gripper
        self._publisher.publish(msg)

    def close(self) -> None:
        """Nothing to let go of."""
