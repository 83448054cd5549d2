"""MoveIt Servo, told velocities or poses after it confirmed that it listens to them."""

from __future__ import annotations

import time
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from dream_vla_ros.control import Command
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.adapters.adapter import AdapterError, GatedAdapter, require
from dream_vla_ros.nodes.adapters.sole_publisher import SolePublisher
from dream_vla_ros.nodes.adapters.twist_follower import TwistFollower
from dream_vla_ros.nodes.conversions import fill_pose, fill_vector, time_to_msg

# Servo halts when nothing came for incoming_command_timeout, 0.1 s by default: three messages within it.
_SLOWEST_HZ = 30.0
_LOOK_PERIOD_S = 0.2
# The type is confirmed anew this often: a Servo that was started again listens to joint commands at first.
_CONFIRM_PERIOD_S = 1.0
_ANSWER_TIMEOUT_S = 1.0
# Without a confirmation for so long nobody knows what Servo listens to.
_CONFIRMED_FOR_S = 3.5


class CommandType:
    """Keeps Servo switched to one type of command.

    :param node: Node that asks.
    :param servo_node: Name of Servo's node.
    :param name: ``TWIST`` or ``POSE``.
    :param wanted_by: Parameter and value that ask for it, for errors.
    """

    def __init__(self, node: Node, servo_node: str, name: str, wanted_by: str) -> None:
        self._kind = require("moveit_msgs.srv", wanted_by).ServoCommandType
        self._client = node.create_client(self._kind, f"{servo_node}/switch_command_type")
        self._name = name
        self._asked: tuple[Future, float] | None = None
        self._due_s = 0.0
        self._confirmed_s = float("-inf")
        self._refusal = ""
        node.create_timer(_LOOK_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def problem(self) -> str:
        """Why Servo cannot be commanded; empty where it can."""
        if time.monotonic() - self._confirmed_s <= _CONFIRMED_FOR_S:
            return ""
        service = self._client.service_name
        return self._refusal or f"MoveIt Servo has not confirmed command type {self._name} on {service} yet"

    def _look(self) -> None:
        now_s = time.monotonic()
        if self._asked is not None:
            self._read(*self._asked, now_s)
        elif not self._client.service_is_ready():
            self._confirmed_s = float("-inf")
            self._refusal = (
                f"no service {self._client.service_name}: start MoveIt Servo, or set output.servo_node"
            )
        elif now_s >= self._due_s:
            request = self._kind.Request(command_type=getattr(self._kind.Request, self._name))
            self._asked = self._client.call_async(request), now_s
            self._due_s = now_s + _CONFIRM_PERIOD_S

    def _read(self, future: Future, asked_s: float, now_s: float) -> None:
        if future.done():
            self._asked = None
            response: Any = future.result()
            if response is not None and response.success:
                # It held when it was asked for, at the latest.
                self._confirmed_s, self._refusal = asked_s, ""
            else:
                self._confirmed_s = float("-inf")
                self._refusal = (
                    f"MoveIt Servo refuses command type {self._name} on {self._client.service_name}"
                )
        elif now_s - asked_s > _ANSWER_TIMEOUT_S:
            self._client.remove_pending_request(future)
            self._asked = None
            self._refusal = f"MoveIt Servo does not answer on {self._client.service_name}"


def _check_rate(embodiment: Embodiment) -> None:
    rate = embodiment.timing.control_rate
    if rate < _SLOWEST_HZ:
        raise AdapterError(
            f"timing.control_rate is {rate:g} Hz; MoveIt Servo wants commands at {_SLOWEST_HZ:g} Hz or more"
        )


class ServoTwistAdapter(GatedAdapter):
    """Publishes ``<output.servo_node>/delta_twist_cmds`` in m/s and rad/s; Servo needs ``speed_units``.

    :param embodiment: Names Servo's node and the base frame.
    :raises AdapterError: If the control rate is too low or moveit_msgs is not installed.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        _check_rate(embodiment)
        servo = embodiment.output.servo_node
        self._type = CommandType(node, servo, "TWIST", "output.adapter servo_twist")
        self._twists = SolePublisher(node, TwistStamped, f"{servo}/delta_twist_cmds")
        self._follower = TwistFollower(embodiment.limits, 1.0 / embodiment.timing.control_rate)
        self._msg = TwistStamped()
        self._msg.header.frame_id = embodiment.frames.base

    def problem(self) -> str:
        """Return why Servo must not be commanded."""
        return self._type.problem or self._twists.problem

    def publish(self, command: Command, target: Pose) -> None:
        """Publish the velocity of the tick."""
        linear, angular = self._follower.follow(command)
        self._msg.header.stamp = time_to_msg(command.stamp_ns)
        fill_vector(self._msg.twist.linear, linear)
        fill_vector(self._msg.twist.angular, angular)
        self._twists.publish(self._msg)

    def rest(self) -> None:
        """Let the next motion begin from a stand; Servo halts by itself."""
        self._follower.rest()


class ServoPoseAdapter(GatedAdapter):
    """Publishes ``<output.servo_node>/pose_target_cmds``.

    :param embodiment: Names Servo's node and the base frame.
    :raises AdapterError: If the control rate is too low or moveit_msgs is not installed.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        _check_rate(embodiment)
        servo = embodiment.output.servo_node
        self._type = CommandType(node, servo, "POSE", "output.adapter servo_pose")
        self._poses = SolePublisher(node, PoseStamped, f"{servo}/pose_target_cmds")
        self._msg = PoseStamped()
        self._msg.header.frame_id = embodiment.frames.base

    def problem(self) -> str:
        """Return why Servo must not be commanded."""
        return self._type.problem or self._poses.problem

    def publish(self, command: Command, target: Pose) -> None:
        """Publish the target at the end of the tick."""
        self._msg.header.stamp = time_to_msg(command.stamp_ns)
        fill_pose(self._msg.pose, target)
        self._poses.publish(self._msg)
