"""Grippers whose drivers take messages."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from dream_vla_ros.control import Command
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.adapters.adapter import require
from dream_vla_ros.nodes.matching import SENSOR, MatchingSubscription
from dream_vla_ros.robot_state import gripper_opening

_DEPTH = 10
# The gripper is told at every change, and again this often in case a message was lost or the driver is late.
_REPEAT_NS = 100_000_000
# Fingers this near to fully open or closed are there.
_THERE = 0.03


class Repeater:
    """Decides at which ticks a value is to be said."""

    def __init__(self) -> None:
        self._value: float | None = None
        self._told_ns = 0

    def is_due(self, value: float, stamp_ns: int) -> bool:
        """Say whether to tell the value now."""
        if value == self._value and abs(stamp_ns - self._told_ns) < _REPEAT_NS:
            return False
        self._value, self._told_ns = value, stamp_ns
        return True


class FloatArrayGripper:
    """Publishes ``output.gripper_topic`` as ``Float64MultiArray`` with one number.

    :param embodiment: Names the topic and the numbers for open and closed.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._output = embodiment.output
        self._publisher = node.create_publisher(Float64MultiArray, self._output.gripper_topic, _DEPTH)
        self._repeater = Repeater()

    def send(self, command: Command) -> None:
        """Publish the opening at changes and ten times a second."""
        if not command.send or command.gripper is None:
            return
        value = driver_value(command.gripper, self._output.gripper_closed, self._output.gripper_open)
        if self._repeater.is_due(value, command.stamp_ns):
            self._publisher.publish(Float64MultiArray(data=[value]))

    def close(self) -> None:
        """Nothing to let go of."""


class InterbotixGripper:
    """Publishes ``output.gripper_topic`` as ``JointSingleCommand`` for one joint.

    :param embodiment: Names topic, joint and the values for open and closed, in the driver's operating mode.
    :raises AdapterError: If interbotix_xs_msgs is not installed.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._kind: Any = require("interbotix_xs_msgs.msg", "output.gripper interbotix").JointSingleCommand
        self._output, self._state = embodiment.output, embodiment.state
        self._publisher = node.create_publisher(self._kind, self._output.gripper_topic, _DEPTH)
        self._repeater = Repeater()
        self._fingers: dict[str, float] = {}
        if self._output.gripper_relax:
            self._measured = MatchingSubscription(
                node, JointState, self._state.joint_states_topic, self._on_joints, SENSOR
            )

    def send(self, command: Command) -> None:
        """Publish the value at changes and ten times a second."""
        if not command.send or command.gripper is None:
            return
        value = driver_value(command.gripper, self._output.gripper_closed, self._output.gripper_open)
        if self._output.gripper_relax and self._is_there(command.gripper):
            value = 0.0
        if self._repeater.is_due(value, command.stamp_ns):
            self._publisher.publish(self._kind(name=self._output.gripper_joint, cmd=value))

    def close(self) -> None:
        """Nothing to let go of."""

    def _is_there(self, opening: float) -> bool:
        measured = gripper_opening(self._fingers, self._state)
        if measured is None:
            return False
        return measured >= 1.0 - _THERE if opening >= 0.5 else measured <= _THERE

    def _on_joints(self, msg: JointState) -> None:
        if len(msg.name) == len(msg.position):
            self._fingers.update(zip(msg.name, (float(p) for p in msg.position), strict=True))


def driver_value(opening: float, closed: float, opened: float) -> float:
    """Return the driver's number for an opening.

    :param opening: 1 = open, 0 = closed.
    """
    return closed + (opened - closed) * opening
