"""Subscriptions that hear their topic whatever quality of service it is offered with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

# A best-effort, volatile subscriber hears every publisher; joint states may come from several in turn (arm
# and gripper), so a few are kept.
SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class MatchingSubscription:
    """A subscription that, where the offer is less than it asked for, says so and takes the offer.

    A publisher that suits both ways of asking is then heard twice, so the callback must not count.

    :param node: Node that subscribes.
    :param topic: Name of the topic.
    :param qos: What is asked for at first.
    :param callback_group: Group of the subscription; the node's default group if None.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        callback_group: CallbackGroup | None = None,
    ) -> None:
        self._node = node
        self._more: Subscription | None = None
        self._kind, self._callback, self._group = kind, callback, callback_group
        self._subscription = node.create_subscription(
            kind,
            topic,
            callback,
            qos,
            callback_group=callback_group,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
        )

    @property
    def topic_name(self) -> str:
        """The full name of the topic."""
        return str(self._subscription.topic_name)

    def _on_incompatible(self, info: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = QoSPolicyKind(info.last_policy_kind).name.lower()
        if self._more is not None:
            return
        self._node.get_logger().warning(
            f"{self.topic_name} is offered with less {policy} than was asked for; listening without: what "
            "was published before is missed, and messages may be lost"
        )
        self._more = self._node.create_subscription(
            self._kind, self.topic_name, self._callback, SENSOR, callback_group=self._group
        )
