"""Find the embodiment's topics among those of a bag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.errors import BagError

# What image_transport and this package's recorder append when images are recorded compressed.
_COMPRESSED = "/compressed"
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class TopicNames:
    """How the embodiment's topic names are looked up in bags.

    A name from the robot's file that begins with ``/`` is taken as it stands; a relative one is looked for
    below ``namespace``, and where none is given, below any single namespace of the bag.

    :param remap: Names in the robot's file to names in the bag.
    """

    namespace: str = ""
    remap: Mapping[str, str] = field(default_factory=dict)

    def find(self, bag: Bag, name: str, types: Iterable[str], what: str) -> str:
        """Return the bag's name for a topic.

        :param types: Message types that will do.
        :param what: What the topic is for, for messages.
        :raises BagError: Listing the bag's topics if there is none or more than one.
        """
        found = self.maybe(bag, name, types, what)
        if found is None:
            raise BagError(
                f"{bag.path}: no topic for {what}: the robot's file names '{name}' of type "
                f"{' or '.join(types)}; the bag has\n{bag.listing()}\n"
                f"Record it, or name the bag's topic with --remap {name}:=/its/name"
            )
        return found

    def maybe(self, bag: Bag, name: str, types: Iterable[str], what: str) -> str | None:
        """Return the bag's name for a topic, or None where it was not recorded.

        :raises BagError: If more than one topic could be meant.
        """
        wanted = self.remap.get(name, name)
        kinds = tuple(types)
        usable = [
            topic for topic, index in bag.topics.items() if index.topic.type in kinds and len(index) > 0
        ]
        for ending in ("", _COMPRESSED) if IMAGE_TYPES[1] in kinds else ("",):
            full = self._full(wanted) + ending
            if full in usable:
                return full
            if wanted.startswith("/") or self.namespace:
                continue
            below = [topic for topic in usable if topic.endswith(full)]
            if len(below) > 1:
                raise BagError(
                    f"{bag.path}: '{name}' for {what} could be {' or '.join(below)}; choose with --namespace "
                    f"or --remap {name}:={below[0]}"
                )
            if below:
                return below[0]
        return None

    def _full(self, name: str) -> str:
        if name.startswith("/"):
            return name
        return f"/{self.namespace.strip('/')}/{name}" if self.namespace else f"/{name}"
