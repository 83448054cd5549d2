"""Tells the controller at a fixed rate which goal may move the arm."""

from __future__ import annotations

import threading

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Header

from dream_vla_msgs.msg import ActiveGoal
from dream_vla_ros.nodes.conversions import uuid_to_msg

HEARTBEAT_PERIOD_S = 0.1
_LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class Heartbeat:
    """Publishes ``active_goal`` from a thread of its own, whatever inference and executor are doing.

    :param node: Node that publishes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._goal: tuple[bytes, str] | None = None
        self._stopped = threading.Event()
        self._publisher = node.create_publisher(
            ActiveGoal,
            "active_goal",
            _LATCHED_QOS,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def announce(self, goal_id: bytes, instruction: str) -> None:
        """Let a goal move the arm, from now on."""
        with self._lock:
            self._goal = (goal_id, instruction)
            self._publish()

    def withdraw(self, goal_id: bytes) -> None:
        """Let a goal move the arm no longer; does nothing if another one does."""
        with self._lock:
            if self._goal is not None and self._goal[0] == goal_id:
                self._goal = None
                self._publish()

    def stop(self) -> None:
        """Withdraw whatever is announced and fall silent."""
        self._stopped.set()
        self._thread.join()
        with self._lock:
            self._goal = None
            self._publish()

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_PERIOD_S):
            with self._lock:
                self._publish()

    def _publish(self) -> None:
        message = ActiveGoal(header=Header(stamp=self._node.get_clock().now().to_msg()))
        if self._goal is not None:
            message.active = True
            message.goal_id = uuid_to_msg(self._goal[0])
            message.instruction = self._goal[1]
        self._publisher.publish(message)
