"""Watches that nobody else commands the arm on the same topic."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

_DEPTH = 10
_LOOK_PERIOD_S = 0.2
# Those who were there before are discovered within this time on one machine and over a quiet network.
_DISCOVERY_S = 0.6
# A twin of this node was heard this long ago at most.
_HEARD_S = 1.0
_SENT_KEPT = 200
# What rmw calls a node whose publisher it has discovered before the node itself.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


class SolePublisher:
    """A publisher of stamped commands that says so when it is not the only one on its topic.

    Takes a moment to make: until those who were there before are discovered.

    Anyone else who offers the topic counts. Another node of this very name, or of a name not known yet,
    counts once it speaks: one that does not may have died, and its entry goes from the graph after a while.

    :param kind: Message with a header.
    :param topic: Name of the topic.
    """

    def __init__(self, node: Node, kind: type, topic: str) -> None:
        self._node = node
        self._publisher = node.create_publisher(kind, topic, _DEPTH)
        self._sent: deque[tuple[int, int]] = deque(maxlen=_SENT_KEPT)
        self._lock = threading.Lock()
        self._heard_s = float("-inf")
        self._problem = ""
        node.create_subscription(kind, topic, self._on_message, QoSProfile(depth=_DEPTH))
        node.create_timer(_LOOK_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        # Nothing is commanded before it is known who else is there.
        time.sleep(_DISCOVERY_S)
        self._look()

    @property
    def topic_name(self) -> str:
        """The full name of the topic."""
        return str(self._publisher.topic_name)

    @property
    def problem(self) -> str:
        """Who else publishes here, in words; empty where nobody does."""
        return self._problem

    def publish(self, msg: Any) -> None:
        """Publish a command, whoever else may."""
        stamp = msg.header.stamp
        with self._lock:
            self._sent.append((stamp.sec, stamp.nanosec))
        self._publisher.publish(msg)

    def _look(self) -> None:
        now_s = time.monotonic()
        own = self._node.get_fully_qualified_name()
        names = {
            f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            for info in self._node.get_publishers_info_by_topic(self.topic_name)
        }
        others = sorted(name for name in names - {own} if _UNKNOWN not in name)
        if not others and now_s - self._heard_s < _HEARD_S:
            others = [f"a second {own}"]
        self._problem = (
            f"{self.topic_name} has another publisher, {', '.join(others)}: the arm obeys one only; end it"
            if others
            else ""
        )

    def _on_message(self, msg: Any) -> None:
        stamp = (msg.header.stamp.sec, msg.header.stamp.nanosec)
        with self._lock:
            foreign = stamp not in self._sent
        if foreign:
            self._heard_s = time.monotonic()
            if not self._problem:
                self._look()
