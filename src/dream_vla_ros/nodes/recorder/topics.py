"""Subscriptions of the recorder: whatever publishes, as it publishes, serialised as it came."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from dream_vla_ros.data.definitions import Definitions
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.recorded_topics import TF_STATIC_TOPIC, RecordedTopic
from dream_vla_ros.data.storage import StoredTopic
from dream_vla_ros.nodes.recorder.gaps import Gaps

# Deep enough to bridge a second in which the process gets no processor: 1 s of joint states at 200 Hz.
_DEPTH = 200
_IMAGE_DEPTH = 30
# /tf_static is latched by each of its publishers.
_STATIC_KEPT = 64
_UNSET = {"sec": 9223372036, "nsec": 854775807}


@dataclass
class Source:
    """One topic as it is received.

    :param wanted: What was asked for.
    :param full_name: Its full name on the graph.
    :param stored: How bags describe it; None until something publishes.
    :param problem: Why it cannot be received; empty where nothing is wrong.
    :param received: Messages since the node began.
    :param lost: Messages that are known to be missing.
    :param gaps: Tells what is missing where the middleware does not.
    """

    wanted: RecordedTopic
    full_name: str
    stored: StoredTopic | None = None
    problem: str = "nothing publishes it"
    received: int = 0
    lost: int = 0
    gaps: Gaps = field(default_factory=Gaps)
    subscription: Subscription | None = None
    profile: tuple[ReliabilityPolicy, DurabilityPolicy] | None = None

    def take(self) -> None:
        """Count a message."""
        self.received += 1


class RecorderTopics:
    """Subscribes to topics as soon as something publishes them, with the quality of service on offer.

    :param node: Node that subscribes.
    :param wanted: What to record.
    :param receive: Gets source, serialised message and time of arrival (ROS time), from the executor.
    :param lose: Gets source and number of messages that are known to be missing.
    """

    def __init__(
        self,
        node: Node,
        wanted: Iterable[RecordedTopic],
        receive: Callable[[Source, bytes, int], None],
        lose: Callable[[Source, int], None],
    ) -> None:
        self._node = node
        self._receive = receive
        self._lose = lose
        self._definitions = Definitions()
        self._lock = threading.Lock()
        self._latched: dict[str, list[bytes]] = {}
        self.sources = [Source(topic, node.resolve_topic_name(topic.name)) for topic in wanted]

    def look(self) -> None:
        """See what publishes now, and subscribe to what was not there or offers something else."""
        for source in self.sources:
            offers = self._node.get_publishers_info_by_topic(source.full_name)
            if not offers:
                if source.received == 0:
                    source.problem = "nothing publishes it"
                continue
            source.gaps.offered_by([bytes(offer.endpoint_gid) for offer in offers])
            if source.stored is None or source.subscription is None:
                self._describe(source, offers)
            profile = _profile(offers)
            if source.stored is not None and source.profile != profile:
                self._subscribe(source, profile)

    def latched(self) -> list[tuple[Source, bytes]]:
        """Return what came once and belongs into every bag."""
        with self._lock:
            return [
                (source, data) for source in self.sources for data in self._latched.get(source.full_name, ())
            ]

    def _describe(self, source: Source, offers: Sequence[Any]) -> None:
        types = sorted({offer.topic_type for offer in offers})
        if len(types) > 1:
            source.problem = f"is published as {' and as '.join(types)}"
            return
        try:
            source.stored = self._definitions.topic(source.full_name, types[0], qos_text(offers))
            message_class(types[0])
        except (DataError, ImportError, AttributeError) as error:
            source.stored, source.problem = None, str(error)

    def _subscribe(self, source: Source, profile: tuple[ReliabilityPolicy, DurabilityPolicy]) -> None:
        assert source.stored is not None
        if source.subscription is not None:
            self._node.destroy_subscription(source.subscription)
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_IMAGE_DEPTH if source.wanted.camera else _DEPTH,
            reliability=profile[0],
            durability=profile[1],
        )

        def take(data: bytes, info: Mapping[str, Any]) -> None:
            if missed := source.gaps.missed_before(info.get("publication_sequence_number")):
                self._miss(source, missed)
            self._on_message(source, data)

        def lost(event: Any) -> None:
            # These are numbered as well, and are counted when the next message comes.
            if not source.gaps.countable:
                self._miss(source, event.total_count_change)

        # A callback of two arguments is told about the message as well, which the declared type leaves out.
        receive: Any = take
        kind = message_class(source.stored.type)
        arguments: dict[str, Any] = {"raw": True}
        try:
            events = SubscriptionEventCallbacks(message_lost=lost)
            made = self._node.create_subscription(
                kind, source.full_name, receive, qos, event_callbacks=events, **arguments
            )
        except UnsupportedEventTypeError:
            made = self._node.create_subscription(kind, source.full_name, receive, qos, **arguments)
        source.subscription, source.profile = made, profile
        source.problem = "no message came yet"

    def _miss(self, source: Source, count: int) -> None:
        source.lost += count
        self._lose(source, count)

    def _on_message(self, source: Source, data: bytes) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        source.take()
        source.problem = ""
        if source.wanted.latched:
            with self._lock:
                kept = self._latched.setdefault(source.full_name, [])
                if data not in kept:
                    kept.append(data)
                del kept[: -(_STATIC_KEPT if source.full_name == TF_STATIC_TOPIC else 1)]
        self._receive(source, data, now_ns)


def message_class(type_name: str) -> type:
    """Import a message class.

    :param type_name: For example ``sensor_msgs/msg/Image``.
    :raises ImportError: If its package is not installed.
    """
    package, _, name = type_name.split("/")
    found: type = getattr(importlib.import_module(f"{package}.msg"), name)
    return found


def _profile(offers: Sequence[Any]) -> tuple[ReliabilityPolicy, DurabilityPolicy]:
    """Ask for as much as all publishers offer, so that none is left unheard."""
    profiles = [offer.qos_profile for offer in offers]
    reliable = all(one.reliability is ReliabilityPolicy.RELIABLE for one in profiles)
    latched = all(one.durability is DurabilityPolicy.TRANSIENT_LOCAL for one in profiles)
    return (
        ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def qos_text(offers: Sequence[Any]) -> str:
    """Write publishers' profiles as rosbag2 does."""
    rows = []
    for offer in offers:
        profile = offer.qos_profile
        rows.append(
            {
                # Discovery does not tell history and depth of others.
                "history": "keep_last" if profile.history is HistoryPolicy.KEEP_LAST else "unknown",
                "depth": int(profile.depth),
                "reliability": profile.reliability.name.lower(),
                "durability": profile.durability.name.lower(),
                "deadline": _UNSET,
                "lifespan": _UNSET,
                "liveliness": "automatic",
                "liveliness_lease_duration": _UNSET,
                "avoid_ros_namespace_conventions": False,
            }
        )
    text: str = yaml.safe_dump(rows, sort_keys=False)
    return text
