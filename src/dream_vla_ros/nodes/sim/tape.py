"""What looks like a node to those who publish, and writes a bag instead of speaking on a graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.serialization import serialize_message

from dream_vla_ros.data.bag_writer import BagWriter
from dream_vla_ros.data.definitions import Definitions
from dream_vla_ros.data.storage import StoredTopic


class TapePublisher:
    """Writes one topic.

    :param topic: How the bag describes it.
    """

    def __init__(self, tape: Tape, topic: StoredTopic) -> None:
        self._tape = tape
        self._topic = topic

    def publish(self, message: Any) -> None:
        """Write a message, received at the tape's present time."""
        if self._tape.listens_to(self._topic.name):
            self._tape.write(self._topic, bytes(serialize_message(message)))

    def get_subscription_count(self) -> int:
        """Return how many listen: the tape, where the topic is to be recorded."""
        return int(self._tape.listens_to(self._topic.name))


class Tape:
    """Publishers of one simulated robot, in simulated time.

    :param name: Name of the node it stands for.
    :param topics: What to record; other topics are not written.
    :param namespace: Where relative topics are.
    """

    def __init__(self, name: str, topics: Iterable[str], namespace: str = "") -> None:
        self._name = name
        self._namespace = namespace.strip("/")
        self._definitions = Definitions()
        self._writer: BagWriter | None = None
        self._kept: list[tuple[StoredTopic, bytes]] = []
        self._topics = {self.resolve_topic_name(topic) for topic in topics}
        self.now_ns = 0

    def listens_to(self, topic: str) -> bool:
        """Say whether a topic is recorded.

        :param topic: Its full name.
        """
        return topic in self._topics

    def create_publisher(self, kind: type, topic: str, qos: Any) -> TapePublisher:
        """Make a publisher, as a node does."""
        package = kind.__module__.partition(".")[0]
        return TapePublisher(
            self, self._definitions.topic(self.resolve_topic_name(topic), f"{package}/msg/{kind.__name__}")
        )

    def resolve_topic_name(self, topic: str) -> str:
        """Return a topic's full name."""
        if topic.startswith("~/"):
            topic = f"{self._name}/{topic[2:]}"
        if topic.startswith("/"):
            return topic
        return f"/{self._namespace}/{topic}" if self._namespace else f"/{topic}"

    def record(self, writer: BagWriter) -> None:
        """Write to a bag from now on; what was published without one, and so is latched, comes first."""
        self._writer = writer
        for topic, data in self._kept:
            self.write(topic, data)

    def write(self, topic: StoredTopic, data: bytes) -> None:
        """Take a serialised message."""
        data = self._definitions.exact(topic.type, data)
        if self._writer is None:
            self._kept.append((topic, data))
            return
        self._writer.add_topic(topic)
        self._writer.write(topic.name, data, self.now_ns, wait=True)
