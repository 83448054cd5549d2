"""The latched emergency stop on its topic, heard from and told to everyone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

TOPIC = "emergency_stop"
# One sample of each latched publisher may wait there.
_DEPTH = 10
# The node hears what it says itself; after this long the echo was lost.
_ECHO_NS = 1_000_000_000


class EmergencyStopTopic:
    """Publishes the stop, latched, and reports stops that others publish.

    Others may publish in any quality of service, latched or not. A False of theirs lifts nothing: that takes
    a deliberate ``~/resume``, so it is answered by publishing True again.

    :param on_stop: Called with words on where the stop came from.
    :param is_stopped: Whether the stop is latched.
    :param callback_group: Group of the subscriptions.
    """

    def __init__(
        self,
        node: Node,
        on_stop: Callable[[str], None],
        is_stopped: Callable[[], bool],
        callback_group: CallbackGroup,
    ) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._logger = node.get_logger()
        self._on_stop = on_stop
        self._is_stopped = is_stopped
        self._publisher = node.create_publisher(Bool, TOPIC, latched)
        self._echoes: list[deque[tuple[bool, int]]] = []
        for reliability, durability in (
            (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
            (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
        ):
            echoes: deque[tuple[bool, int]] = deque()
            self._echoes.append(echoes)
            node.create_subscription(
                Bool,
                TOPIC,
                partial(self._on_message, echoes),
                QoSProfile(depth=_DEPTH, reliability=reliability, durability=durability),
                callback_group=callback_group,
                # What one subscription cannot hear the other does; a warning would say the opposite.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            )

    def publish(self, stopped: bool) -> None:
        """Tell everyone, also those who come later."""
        now_ns = time.monotonic_ns()
        for echoes in self._echoes:
            echoes.append((stopped, now_ns))
        self._publisher.publish(Bool(data=stopped))

    def _on_message(self, echoes: deque[tuple[bool, int]], msg: Bool) -> None:
        stopped = bool(msg.data)
        if self._is_echo(stopped, echoes):
            return
        if stopped:
            self._on_stop(f"emergency stop on topic {self._publisher.topic_name}")
        elif self._is_stopped():
            self._logger.warning(
                f"False on {self._publisher.topic_name} does not lift the emergency stop; call ~/resume"
            )
            self.publish(True)

    def _is_echo(self, stopped: bool, echoes: deque[tuple[bool, int]]) -> bool:
        oldest_ns = time.monotonic_ns() - _ECHO_NS
        while echoes and echoes[0][1] < oldest_ns:
            echoes.popleft()
        # Of messages sent in quick succession only the last may arrive: the topic keeps one.
        for index, (sent, _) in enumerate(echoes):
            if sent == stopped:
                for _ in range(index + 1):
                    echoes.popleft()
                return True
        return False
